"""What a split of groups is, and what every split must hold to.

A group is whatever must never be torn apart: a frame with its twins (frame k of every class shows the same place in the
same color), or all windows of one subject or recording. A split over single samples would show the scene or the person
to both sides.
"""

import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Sequence
from itertools import combinations
from pathlib import Path

from fusionlit.data.groups import Groups
from fusionlit.errors import DataError
from fusionlit.types import Split

Assignment = dict[Split, list[str]]


class GroupSplit(ABC):
    """A way to assign groups to the splits."""

    test_on_validation: bool = False
    """Whether test may repeat the validation groups."""
    validates: bool = True
    """Whether there is to be a validation split; where there is none, training goes without."""

    @abstractmethod
    def assign(self, groups: Groups) -> Assignment:
        """Groups of each split; a split may be empty.

        Args:
            groups: All groups by name, each with the source's own splits and its stratum.
        """

    def __str__(self) -> str:
        return type(self).__name__


def check_assignment(assigned: Assignment, known: Collection[str], split: GroupSplit) -> None:
    """Refuse groups that do not exist, that are listed twice, or that are in two splits.

    Args:
        assigned: Groups of each split.
        known: All groups of the data set.
        split: Where the assignment came from.

    Raises:
        DataError: Naming the groups.
    """
    for name, groups in assigned.items():
        if unknown := sorted(set(groups) - set(known)):
            raise DataError(
                f"{split}: the {name} split names groups that the data set lacks: {some(unknown)}."
                " Remove them from the list, or restore the files."
            )
        if twice := sorted(group for group, count in Counter(groups).items() if count > 1):
            raise DataError(f"{split}: the {name} split names groups more than once: {some(twice)}. Remove the others.")
    for a, b in combinations(assigned, 2):
        if both := sorted(set(assigned[a]) & set(assigned[b])):
            if {a, b} == {"val", "test"} and split.test_on_validation:
                continue
            raise DataError(
                f"{split}: {a} and {b} overlap in {len(both)} groups: {some(both)}. A group (a frame with its twins,"
                " a subject's windows) must be in one split only, or the metrics measure memory."
            )


def save_assignment(path: Path, assigned: Assignment) -> None:
    """Write an assignment as the JSON file that `FileSplit` reads; a test split that repeats val is left empty.

    Raises:
        DataError: If the file is there with another split in it.
    """
    test = [] if assigned["test"] == assigned["val"] else assigned["test"]
    text = json.dumps({**assigned, "test": test}, indent=1) + "\n"
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise DataError(f"{path}: holds another split already, maybe a frozen one. Choose another `write_split`.")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def some(groups: Sequence[str], most: int = 10) -> str:
    """The first groups, for a message."""
    more = f", and {len(groups) - most} more" if len(groups) > most else ""
    return ", ".join(groups[:most]) + more
