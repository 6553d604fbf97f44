"""Cuts of whole groups, class by class."""

import hashlib
from collections.abc import Iterable, Sequence
from itertools import pairwise

from fusionlit.data.groups import Groups
from fusionlit.errors import ConfigError


def shuffled(groups: Iterable[str], seed: int) -> list[str]:
    """The groups in the order of a hash of `seed:group`, which a missing one does not change for the others."""
    return sorted(groups, key=lambda group: hashlib.sha256(f"{seed}:{group}".encode()).digest())


def cut(groups: Groups, order: Iterable[str], fractions: Sequence[float], totals: Sequence[int]) -> list[list[str]]:
    """The groups in parts of `totals`, cut within each stratum by `shares`.

    Args:
        groups: All groups.
        order: The groups to cut, in their order.
        fractions: Wanted fraction of every stratum in each part.
        totals: Groups of each part; their sum is the number of groups.
    """
    strata = _strata(groups, order)
    parts: list[list[str]] = [[] for _ in totals]
    for names, counts in zip(strata, shares([len(names) for names in strata], fractions, totals), strict=True):
        start = 0
        for part, count in zip(parts, counts, strict=True):
            part += names[start : (start := start + count)]
    return parts


def deal(groups: Groups, folds: int, seed: int) -> list[list[str]]:
    """The groups in `folds` parts whose sizes differ by one at most, as do the sizes of each stratum in them.

    Raises:
        ConfigError: If there are fewer groups than folds.
    """
    if len(groups) < folds:
        raise ConfigError(
            f"Expected at least as many groups as folds, but got {len(groups)} groups for `folds` {folds}."
        )
    parts: list[list[str]] = [[] for _ in range(folds)]
    before = 0
    for names in _strata(groups, shuffled(groups, seed)):
        start = 0
        for fold, part in enumerate(parts):
            # As many as if the strata, one after the other, were dealt to the folds in turn.
            count = len(range((fold - before) % folds, len(names), folds))
            part += names[start : (start := start + count)]
        before += len(names)
    return parts


def whole(count: int, fractions: Sequence[float]) -> list[int]:
    """How many of `count` groups each part gets, one at least where the fraction is not 0 and the groups suffice."""
    borders = [round(sum(fractions[:k]) * count) for k in range(len(fractions))] + [count]
    totals = [b - a for a, b in pairwise(borders)]
    for part, fraction in enumerate(fractions):
        if fraction > 0 and not totals[part] and max(totals) > 1:
            totals[totals.index(max(totals))] -= 1
            totals[part] = 1
    return totals


def shares(sizes: Sequence[int], fractions: Sequence[float], totals: Sequence[int]) -> list[list[int]]:
    """How many groups of each stratum go to each part: whole numbers near `size * fraction` with the sums `totals`.

    If no part that gets groups gets fewer than there are strata, every stratum is in every such part, or, if it has
    fewer groups than there are such parts, in as many as it has groups, the first before all others.

    Args:
        sizes: Groups of each stratum.
        fractions: Wanted fraction of every stratum in each part.
        totals: Groups of each part.
    """
    left = list(sizes)
    table: list[list[int]] = [[] for _ in sizes]
    for part, total in enumerate(totals):
        later = sum(1 for count in totals[part + 1 :] if count)
        rest = [size * sum(fractions[part + 1 :]) for size in sizes]
        wanted = [size * fractions[part] for size in sizes]
        # What earlier parts left too many or too few is shared with the later parts.
        wanted = [w + (n - w - r) / (later + 1) for n, w, r in zip(left, wanted, rest, strict=True)]
        for row, taken in zip(table, _share(left, wanted, total, later), strict=True):
            row.append(taken)
        left = [n - row[-1] for n, row in zip(left, table, strict=True)]
    return table


def _share(sizes: Sequence[int], wanted: Sequence[float], total: int, later: int) -> list[int]:
    """How many of each stratum go to this part, the k-th of a stratum while `wanted - k` is largest.

    The first of every stratum goes before all that, and the last `later`, one for each later part, after it.
    """
    turns = []
    for stratum, (size, want) in enumerate(zip(sizes, wanted, strict=True)):
        for k in range(1, size + 1):
            level = (later + 1) * (k == 1) - max(0, later - (size - k))
            turns.append((-level, round(k - want, 9), stratum))  # rounded: equal classes stay equal
    taken = [0] * len(sizes)
    for *_, stratum in sorted(turns)[:total]:
        taken[stratum] += 1
    return taken


def _strata(groups: Groups, order: Iterable[str]) -> list[list[str]]:
    """The groups of each stratum in their order; the strata in the order of their first groups."""
    strata: dict[int | None, list[str]] = {}
    for name in order:
        strata.setdefault(groups[name].stratum, []).append(name)
    return list(strata.values())
