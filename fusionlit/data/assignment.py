"""Base class of splits, and the checks that every assignment of groups must pass.

A group is a set of samples that must stay in the same split: a frame with its twins (frame k of every class shows the
same place in the same color), or all windows of one subject or recording. Splitting single samples would leak the scene
or the person from training to test.
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
    """Base class of rules that assign groups to the splits."""

    test_on_validation: bool = False
    """Whether the test split may repeat the validation groups."""
    validates: bool = True
    """Whether there is a validation split; if not, training runs without validation."""

    @abstractmethod
    def assign(self, groups: Groups) -> Assignment:
        """Assign groups to the splits; a split may be empty.

        Args:
            groups: All groups by name, each with its official splits and its stratum.
        """

    def __str__(self) -> str:
        return type(self).__name__


def check_assignment(assigned: Assignment, known: Collection[str], split: GroupSplit) -> None:
    """Raise DataError for groups that do not exist, are listed twice, or are in two splits.

    Args:
        assigned: Groups of each split.
        known: All groups of the data set.
        split: The rule that made the assignment.

    Raises:
        DataError: The message names the groups.
    """
    for name, groups in assigned.items():
        if unknown := sorted(set(groups) - set(known)):
            raise DataError(
                f"{split}: the {name} split names groups that are not in the data set: {some(unknown)}."
                " Remove them from the list, or restore their files."
            )
        if twice := sorted(group for group, count in Counter(groups).items() if count > 1):
            raise DataError(f"{split}: the {name} split names groups more than once: {some(twice)}. Keep each once.")
    for a, b in combinations(assigned, 2):
        if both := sorted(set(assigned[a]) & set(assigned[b])):
            if {a, b} == {"val", "test"} and split.test_on_validation:
                continue
            raise DataError(
                f"{split}: {a} and {b} overlap in {len(both)} groups: {some(both)}. Put each group (a frame with its"
                " twins, the windows of a subject) in one split only; otherwise the metrics measure memorisation."
            )


def save_assignment(path: Path, assigned: Assignment) -> None:
    """Write an assignment as a JSON file for `FileSplit`; a test split equal to validation is written as empty.

    Raises:
        DataError: If the file already exists with another split.
    """
    test = [] if assigned["test"] == assigned["val"] else assigned["test"]
    text = json.dumps({**assigned, "test": test}, indent=1) + "\n"
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise DataError(
            f"{path}: expected a new file or the same split, but it contains another split. Choose another"
            " `write_split`."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def some(groups: Sequence[str], most: int = 10) -> str:
    """The first groups as text, for a message."""
    more = f", and {len(groups) - most} more" if len(groups) > most else ""
    return ", ".join(groups[:most]) + more
