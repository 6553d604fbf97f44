"""Stratified splitting of whole groups."""

import hashlib
from collections.abc import Iterable, Sequence
from itertools import pairwise

from fusionlit.data.groups import Groups
from fusionlit.errors import ConfigError


def shuffled(groups: Iterable[str], seed: int) -> list[str]:
    """The groups in the order of a hash of `seed:group`; a missing group does not change the order of the others."""
    return sorted(groups, key=lambda group: hashlib.sha256(f"{seed}:{group}".encode()).digest())


def cut(groups: Groups, order: Iterable[str], fractions: Sequence[float], totals: Sequence[int]) -> list[list[str]]:
    """Split groups into parts of sizes `totals`, within each stratum according to `shares`.

    Args:
        groups: All groups.
        order: Groups to split, in order.
        fractions: Wanted fraction of every stratum in each part.
        totals: Number of groups in each part; their sum is the number of groups.
    """
    strata = _strata(groups, order)
    parts: list[list[str]] = [[] for _ in totals]
    for names, counts in zip(strata, shares([len(names) for names in strata], fractions, totals), strict=True):
        start = 0
        for part, count in zip(parts, counts, strict=True):
            part += names[start : (start := start + count)]
    return parts


def deal(groups: Groups, folds: int, seed: int) -> list[list[str]]:
    """Split groups into `folds` parts that differ by at most one in size, in total and per stratum.

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
            # As if the groups, stratum by stratum, were dealt to the folds in turn.
            count = len(range((fold - before) % folds, len(names), folds))
            part += names[start : (start := start + count)]
        before += len(names)
    return parts


def whole(count: int, fractions: Sequence[float]) -> list[int]:
    """Number of groups in each part, of `count`; at least one if the fraction is not 0 and there are enough groups."""
    borders = [round(sum(fractions[:k]) * count) for k in range(len(fractions))] + [count]
    totals = [b - a for a, b in pairwise(borders)]
    for part, fraction in enumerate(fractions):
        if fraction > 0 and not totals[part] and max(totals) > 1:
            totals[totals.index(max(totals))] -= 1
            totals[part] = 1
    return totals


def shares(sizes: Sequence[int], fractions: Sequence[float], totals: Sequence[int]) -> list[list[int]]:
    """Number of groups of each stratum in each part: whole numbers near `size * fraction`, with the sums `totals`.

    If every non-empty part has at least as many groups as there are strata, every stratum is in every such part; a
    stratum with fewer groups than parts is in as many parts as it has groups, the first part taking precedence.

    Args:
        sizes: Number of groups in each stratum.
        fractions: Wanted fraction of every stratum in each part.
        totals: Number of groups in each part.
    """
    left = list(sizes)
    table: list[list[int]] = [[] for _ in sizes]
    for part, total in enumerate(totals):
        later = sum(1 for count in totals[part + 1 :] if count)
        rest = [size * sum(fractions[part + 1 :]) for size in sizes]
        wanted = [size * fractions[part] for size in sizes]
        # The surplus or deficit of the earlier parts is shared with the later parts.
        wanted = [w + (n - w - r) / (later + 1) for n, w, r in zip(left, wanted, rest, strict=True)]
        for row, taken in zip(table, _share(left, wanted, total, later), strict=True):
            row.append(taken)
        left = [n - row[-1] for n, row in zip(left, table, strict=True)]
    return table


def _share(sizes: Sequence[int], wanted: Sequence[float], total: int, later: int) -> list[int]:
    """Number of groups of each stratum in this part: groups are taken one by one where `wanted - taken` is largest.

    The first group of every stratum comes before all others, and the last `later`, one per later part, after them.
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
    """The groups of each stratum, in order; strata are ordered by their first groups."""
    strata: dict[int | None, list[str]] = {}
    for name in order:
        strata.setdefault(groups[name].stratum, []).append(name)
    return list(strata.values())
