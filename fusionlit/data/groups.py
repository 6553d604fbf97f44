"""The groups of a data set, and the class by which they are stratified."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from fusionlit.types import Split


class Group(NamedTuple):
    """What a split knows about a group.

    Args:
        splits: Official splits of the group; empty if the source has none.
        stratum: Class of more than half of its samples; None if there is no such class, as for a subject with windows
            of six activities, or a frame with one sample of every class.
    """

    splits: Collection[Split] = ()
    stratum: int | None = None


Groups = Mapping[str, Group]
"""All groups by name, in order."""


def find_groups(
    names: Sequence[str], labels: Sequence[int] | None = None, official: Sequence[Split] | None = None
) -> dict[str, Group]:
    """All groups in order of appearance.

    Args:
        names: Group of each sample.
        labels: Class of each sample; None if the target is not a single class, as in regression.
        official: Official split of each sample, or None.
    """
    sizes, strata = Counter(names), dict[str, int]()
    for (name, label), count in Counter(zip(names, labels, strict=True) if labels is not None else ()).items():
        if 2 * count > sizes[name]:
            strata[name] = label
    splits: dict[str, tuple[Split, ...]] = dict.fromkeys(sizes, ())
    for name, split in sorted(set(zip(names, official, strict=True) if official is not None else ())):
        splits[name] += (split,)
    return {name: Group(own, strata.get(name)) for name, own in splits.items()}
