"""Which frames train, validate and test.

Always whole frames across classes: frame k of one class is the twin of frame k of another (same place, same color), so
a split over the union of samples would show the scene to both sides.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Sequence
from itertools import combinations
from pathlib import Path
from typing import get_args

from lightning.pytorch.utilities import rank_zero_warn

from fusionlit.errors import ConfigError, DataError
from fusionlit.types import Split

SPLITS: tuple[Split, ...] = get_args(Split)
Assignment = dict[Split, list[str]]


class FrameSplit(ABC):
    """A way to assign frames to the splits. `test_on_validation` tells that test may repeat the validation frames."""

    test_on_validation: bool = False

    @abstractmethod
    def assign(self, frames: Sequence[str]) -> Assignment:
        """Frames (file stems) of each split, from all frames in their order; a split may be empty."""


class FractionSplit(FrameSplit):
    """Seeded fractions, cut in the order of a hash of `seed:frame`.

    A frame that is missing or broken moves no other to another split, but at the borders. The global seed plays no
    part.

    Args:
        train: Fraction of the frames to train on.
        val: Fraction to validate on.
        test: Fraction to test on; may be 0.
        seed: Seed of the split.

    Raises:
        ConfigError: If the fractions do not add up to 1 or one is negative.
    """

    def __init__(self, train: float = 0.7, val: float = 0.15, test: float = 0.15, seed: int = 0) -> None:
        if min(train, val, test) < 0 or abs(train + val + test - 1) > 1e-6:
            raise ConfigError(f"Expected fractions >= 0 that add up to 1, but got {train=}, {val=}, {test=}.")
        self.train, self.val, self.seed = train, val, seed

    def assign(self, frames: Sequence[str]) -> Assignment:
        """Cut the frames, in the order of their hashes, at the fractions."""
        shuffled = sorted(frames, key=lambda frame: hashlib.sha256(f"{self.seed}:{frame}".encode()).digest())
        first = round(self.train * len(frames))
        second = round((self.train + self.val) * len(frames))
        return {"train": shuffled[:first], "val": shuffled[first:second], "test": shuffled[second:]}


class LastFramesSplit(FrameSplit):
    """The course's split: the last frames validate, all others train, and there is no test split.

    Args:
        count: Frames that validate.
        test_on_validation: Test on the validation frames, which flatters a checkpoint chosen on them; it warns.
    """

    def __init__(self, count: int = 320, test_on_validation: bool = False) -> None:
        self.count = count
        self.test_on_validation = test_on_validation

    def assign(self, frames: Sequence[str]) -> Assignment:
        """Cut before the last `count` frames."""
        if not 0 < self.count < len(frames):
            raise ConfigError(
                f"Expected `count` of LastFramesSplit between 1 and {len(frames) - 1}, but got {self.count}:"
                f" there are {len(frames)} frames."
            )
        train, val = list(frames[: -self.count]), list(frames[-self.count :])
        if self.test_on_validation:
            rank_zero_warn(
                "Testing on the validation frames (`test_on_validation`): the test metrics flatter a"
                " checkpoint that was chosen on these frames."
            )
        return {"train": train, "val": val, "test": val if self.test_on_validation else []}


class FileSplit(FrameSplit):
    """Frozen lists of frames in a JSON file: `{"train": ["0001", ...], "val": [...], "test": [...]}`.

    Frames that are in no list are not used. `write_split` of ReplicatorDataModule writes such a file.

    Args:
        path: The JSON file.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    def assign(self, frames: Sequence[str]) -> Assignment:
        """The file's lists.

        Raises:
            DataError: If the file does not hold three lists of strings.
        """
        try:
            lists = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(
                f"{self.path}: expected a JSON file of frame lists, but it cannot be read ({error})."
            ) from error
        if not isinstance(lists, dict) or set(lists) != set(SPLITS):
            found = sorted(lists) if isinstance(lists, dict) else type(lists).__name__
            raise DataError(f"{self.path}: expected the keys 'train', 'val' and 'test', but got {found}.")
        for split in SPLITS:
            if not isinstance(lists[split], list) or not all(isinstance(frame, str) for frame in lists[split]):
                raise DataError(
                    f"{self.path}: expected {split!r} to be a list of file stems in quotes, such as '0001'."
                )
        return {split: lists[split] for split in SPLITS}


def check_assignment(assigned: Assignment, known: Collection[str], split: FrameSplit) -> None:
    """Refuse frames that do not exist, that are listed twice, or that are in two splits.

    Args:
        assigned: Frames of each split.
        known: All frames of the data set.
        split: Where the assignment came from.

    Raises:
        DataError: Naming the frames.
    """
    source = f"{type(split).__name__} ({split.path})" if isinstance(split, FileSplit) else type(split).__name__
    for name, frames in assigned.items():
        if unknown := sorted(set(frames) - set(known)):
            raise DataError(
                f"{source}: the {name} split names frames that the data set lacks: {_some(unknown)}."
                " Remove them from the list, or restore the files."
            )
        if twice := sorted(frame for frame, count in Counter(frames).items() if count > 1):
            raise DataError(
                f"{source}: the {name} split names frames more than once: {_some(twice)}. Remove the others."
            )
    for a, b in combinations(assigned, 2):
        if both := sorted(set(assigned[a]) & set(assigned[b])):
            if {a, b} == {"val", "test"} and split.test_on_validation:
                continue
            raise DataError(
                f"{source}: {a} and {b} overlap in {len(both)} frames: {_some(both)}. A frame must be in one"
                " split only, or the metrics measure memory."
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


def _some(frames: Sequence[str], most: int = 10) -> str:
    more = f", and {len(frames) - most} more" if len(frames) > most else ""
    return ", ".join(frames[:most]) + more
