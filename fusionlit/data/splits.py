"""Splits: assignments of groups (frames, subjects, recordings) to training, validation and test."""

import json
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_warn

from fusionlit.data.assignment import Assignment, GroupSplit, some
from fusionlit.data.groups import Groups
from fusionlit.data.strata import cut, deal, shuffled, whole
from fusionlit.errors import ConfigError, DataError
from fusionlit.types import SPLITS


class FractionSplit(GroupSplit):
    """Split the groups of every class by fractions, in the order of a hash of `seed:group`.

    The class of a group is that of more than half of its samples. Groups without such a class are treated as one more
    class, and so are all groups if the target is not a class.

    The sizes of the splits follow from the fractions; a split with a fraction above 0 is empty only if there are too
    few groups. Each class is split by the fractions, in whole groups. If every split has at least as many groups as
    there are classes, then a class with at least one group per split is in every split; a class with fewer groups is in
    the training split, and in one other split if it has two groups.

    Missing or broken groups move no other groups, except at the borders between splits. The global seed has no effect.

    Args:
        train: Fraction of the groups for training.
        val: Fraction for validation.
        test: Fraction for testing; may be 0.
        seed: Seed of the split.

    Raises:
        ConfigError: If the fractions do not add up to 1 or one is negative.
    """

    def __init__(self, train: float = 0.7, val: float = 0.15, test: float = 0.15, seed: int = 0) -> None:
        if min(train, val, test) < 0 or abs(train + val + test - 1) > 1e-6:
            raise ConfigError(f"Expected fractions >= 0 that add up to 1, but got {train=}, {val=}, {test=}.")
        self.fractions, self.seed = (train, val, test), seed

    def assign(self, groups: Groups) -> Assignment:
        """Split the groups of each class, in the order of their hashes, by the fractions."""
        totals = whole(len(groups), self.fractions)
        train, val, test = cut(groups, shuffled(groups, self.seed), self.fractions, totals)
        return {"train": train, "val": val, "test": test}


class FoldSplit(GroupSplit):
    """Test on one of K folds, validate on the next, and train on the others; over all folds, each group tests once.

    The folds differ by at most one in their numbers of groups, in total and per class (see `FractionSplit`). A class
    with at least K groups is in every fold, and one with at least three groups is in every training split.

    Args:
        folds: Number of folds, K, at least 3.
        fold: The test fold, 0 to K - 1.
        seed: Seed of the folds; use the same for all folds.

    Raises:
        ConfigError: If `folds` or `fold` is out of range.
    """

    def __init__(self, folds: int = 5, fold: int = 0, seed: int = 0) -> None:
        if folds < 3 or not 0 <= fold < folds:
            raise ConfigError(
                f"Expected `folds` >= 3 (one for testing, one for validation, others for training) and `fold` from 0 to"
                f" `folds` - 1, but got {folds=}, {fold=}."
            )
        self.folds, self.fold, self.seed = folds, fold, seed

    def assign(self, groups: Groups) -> Assignment:
        """Distribute the groups of each class, in the order of their hashes, over the folds.

        Raises:
            ConfigError: If there are fewer groups than folds.
        """
        dealt = deal(groups, self.folds, self.seed)
        after = (self.fold + 1) % self.folds
        train = [group for k, fold in enumerate(dealt) if k not in (self.fold, after) for group in fold]
        return {"train": train, "val": dealt[after], "test": dealt[self.fold]}


class OfficialSplit(GroupSplit):
    """Use the official split of the source; if it has no validation, part of its training groups become validation.

    That part is a fraction of every class, with the guarantees of `FractionSplit` for training and validation.

    Args:
        val: Fraction of the official training groups for validation, rounded to whole groups, at least one.
        seed: Seed of the selection.

    Raises:
        ConfigError: If `val` is not between 0 and 1.
    """

    def __init__(self, val: float = 0.2, seed: int = 0) -> None:
        if not 0 < val < 1:
            raise ConfigError(f"Expected `val` of OfficialSplit between 0 and 1, but got {val}.")
        self.val, self.seed = val, seed

    def assign(self, groups: Groups) -> Assignment:
        """The official assignment of the source.

        Raises:
            ConfigError: If the source has no official split, or too few training groups for a validation split.
            DataError: If the official split separates samples of a group.
        """
        if not all(group.splits for group in groups.values()):
            raise ConfigError(
                "Expected a source with an official split for OfficialSplit, but this one has none: use FractionSplit,"
                " FoldSplit or FileSplit."
            )
        if torn := [name for name, group in groups.items() if len(group.splits) > 1]:
            raise DataError(
                f"Expected an official split that keeps groups together, but it puts these into several splits:"
                f" {some(torn)}. Use FractionSplit or FoldSplit instead."
            )
        assigned: Assignment = {s: [name for name, group in groups.items() if s in group.splits] for s in SPLITS}
        if not assigned["val"]:
            total = len(assigned["train"])
            count = max(1, round(self.val * total))
            if count >= total:
                raise ConfigError(
                    f"Expected `val` of OfficialSplit to leave groups for training, but it takes {count} of {total}."
                    " Decrease it."
                )
            # Reversed, since the first groups in the order are for validation.
            order = shuffled(assigned["train"], self.seed)[::-1]
            assigned["train"], assigned["val"] = cut(groups, order, (1 - self.val, self.val), (total - count, count))
        return assigned


class LastFramesSplit(GroupSplit):
    """The course's split: validate on the last frames, train on all others, without a test split.

    Args:
        count: Number of validation frames.
        test_on_validation: Test on the validation frames, with a warning: the metrics are too optimistic if the
            checkpoint was selected on these frames.
    """

    def __init__(self, count: int = 320, test_on_validation: bool = False) -> None:
        self.count = count
        self.test_on_validation = test_on_validation

    def assign(self, groups: Groups) -> Assignment:
        """Split before the last `count` frames."""
        if not 0 < self.count < len(groups):
            raise ConfigError(
                f"Expected `count` of LastFramesSplit between 1 and {len(groups) - 1}, since there are {len(groups)}"
                f" frames, but got {self.count}."
            )
        frames = list(groups)
        train, val = frames[: -self.count], frames[-self.count :]
        if self.test_on_validation:
            rank_zero_warn(
                "Testing on the validation frames (`test_on_validation`): the test metrics are too optimistic for a"
                " checkpoint that was selected on these frames."
            )
        return {"train": train, "val": val, "test": val if self.test_on_validation else []}


class FileSplit(GroupSplit):
    """Read fixed lists of groups from a JSON file: `{"train": ["0001", ...], "val": [...], "test": [...]}`.

    Groups in no list are not used. `write_split` of a data module writes such a file.

    Args:
        path: The JSON file.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    def __str__(self) -> str:
        return f"{type(self).__name__} ({self.path})"

    def assign(self, groups: Groups) -> Assignment:
        """The lists of the file.

        Raises:
            DataError: If the file does not contain three lists of strings.
        """
        try:
            lists = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(
                f"{self.path}: expected a JSON file of group lists, but it cannot be read ({error})."
            ) from error
        if not isinstance(lists, dict) or set(lists) != set(SPLITS):
            found = sorted(lists) if isinstance(lists, dict) else type(lists).__name__
            raise DataError(f"{self.path}: expected the keys 'train', 'val' and 'test', but got {found}.")
        for split in SPLITS:
            if not isinstance(lists[split], list) or not all(isinstance(group, str) for group in lists[split]):
                raise DataError(
                    f"{self.path}: expected {split!r} to be a list of groups (file stems, subjects) in quotes, such as"
                    " '0001'."
                )
        return {split: lists[split] for split in SPLITS}


def default_split(groups: Groups) -> GroupSplit:
    """The default split of a data module: the official split, if the source has one, or else `FractionSplit`."""
    return OfficialSplit() if any(group.splits for group in groups.values()) else FractionSplit()
