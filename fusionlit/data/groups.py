"""The groups of a data set: what a split must keep whole, and the class that it may go by."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from fusionlit.types import Split


class Group(NamedTuple):
    """What a split gets to know of a group.

    Args:
        splits: Splits that the source itself puts it in; none if it does not come split.
        stratum: The class of more than half of its samples, None if there is no such class. A subject with windows of
            six activities has none; nor has a frame with one sample of every class.
    """

    splits: Collection[Split] = ()
    stratum: int | None = None


Groups = Mapping[str, Group]
"""All groups by name, in their order."""


def find_groups(
    names: Sequence[str], labels: Sequence[int] | None = None, official: Sequence[Split] | None = None
) -> dict[str, Group]:
    """All groups in order of appearance.

    Args:
        names: Group of each sample.
        labels: Class of each sample; None if the target is not one class, as in regression.
        official: The source's own split of each sample, or None.
    """
    classes: dict[str, Counter[int | None]] = {name: Counter() for name in names}
    splits: dict[str, set[Split]] = {name: set() for name in classes}
    for name, label in zip(names, [None] * len(names) if labels is None else labels, strict=True):
        classes[name][label] += 1
    for name, split in zip(names, official or (), strict=official is not None):
        splits[name].add(split)
    return {name: Group(tuple(sorted(splits[name])), _majority(counts)) for name, counts in classes.items()}


def _majority(counts: Counter[int | None]) -> int | None:
    label, count = counts.most_common(1)[0]
    return label if 2 * count > counts.total() else None
