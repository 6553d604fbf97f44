"""The ways to say which groups (frames, subjects, recordings) train, validate and test."""

import json
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_warn

from fusionlit.data.assignment import Assignment, GroupSplit, some
from fusionlit.data.groups import Groups
from fusionlit.data.strata import cut, deal, shuffled, whole
from fusionlit.errors import ConfigError, DataError
from fusionlit.types import SPLITS


class FractionSplit(GroupSplit):
    """Seeded fractions of every class, cut in the order of a hash of `seed:group`.

    The class of a group is that of more than half of its samples. Groups without one are cut as a class of their own,
    and so are all groups where the target is no class.

    The splits have the sizes that the fractions give, and no split with a fraction above 0 is empty while there are
    groups for it. A class has its fraction in each split, in whole groups. If every split has at least as many groups
    as there are classes, then a class with a group for every split is in every split; one with fewer is in the training
    split, and in one other if it has two groups.

    A group that is missing or broken moves no other to another split, but at the borders. The global seed plays no
    part.

    Args:
        train: Fraction of the groups to train on.
        val: Fraction to validate on.
        test: Fraction to test on; may be 0.
        seed: Seed of the split.

    Raises:
        ConfigError: If the fractions do not add up to 1 or one is negative.
    """

    def __init__(self, train: float = 0.7, val: float = 0.15, test: float = 0.15, seed: int = 0) -> None:
        if min(train, val, test) < 0 or abs(train + val + test - 1) > 1e-6:
            raise ConfigError(f"Expected fractions >= 0 that add up to 1, but got {train=}, {val=}, {test=}.")
        self.fractions, self.seed = (train, val, test), seed

    def assign(self, groups: Groups) -> Assignment:
        """Cut the groups of each class, in the order of their hashes, at the fractions."""
        totals = whole(len(groups), self.fractions)
        train, val, test = cut(groups, shuffled(groups, self.seed), self.fractions, totals)
        return {"train": train, "val": val, "test": test}


class FoldSplit(GroupSplit):
    """One of K folds: fold k tests, the next one validates, the others train; over all k every group tests once.

    The folds have equal numbers of groups, up to one, and equal numbers of each class (see `FractionSplit`), up to one.
    A class with at least K groups is in every fold, and one with three groups is in the training split of every k.

    Args:
        folds: Number of folds, K.
        fold: The fold that tests, 0 to K - 1.
        seed: Seed of the folds; the same for all k.

    Raises:
        ConfigError: If `fold` is none of at least three folds.
    """

    def __init__(self, folds: int = 5, fold: int = 0, seed: int = 0) -> None:
        if folds < 3 or not 0 <= fold < folds:
            raise ConfigError(
                f"Expected `folds` >= 3 (one to test, one to validate, others to train) and `fold` from 0 to"
                f" `folds` - 1, but got {folds=}, {fold=}."
            )
        self.folds, self.fold, self.seed = folds, fold, seed

    def assign(self, groups: Groups) -> Assignment:
        """Cut the groups of each class, in the order of their hashes, into the folds.

        Raises:
            ConfigError: If there are fewer groups than folds.
        """
        dealt = deal(groups, self.folds, self.seed)
        after = (self.fold + 1) % self.folds
        train = [group for k, fold in enumerate(dealt) if k not in (self.fold, after) for group in fold]
        return {"train": train, "val": dealt[after], "test": dealt[self.fold]}


class OfficialSplit(GroupSplit):
    """The split that the source comes with; validation is cut from its training groups, unless it has its own.

    The cut takes its fraction of every class, with the promises of `FractionSplit` for training and validation.

    Args:
        val: Fraction of the official training groups to validate on, rounded to whole groups, at least one.
        seed: Seed of the cut.

    Raises:
        ConfigError: If `val` is no fraction.
    """

    def __init__(self, val: float = 0.2, seed: int = 0) -> None:
        if not 0 < val < 1:
            raise ConfigError(f"Expected `val` of OfficialSplit between 0 and 1, but got {val}.")
        self.val, self.seed = val, seed

    def assign(self, groups: Groups) -> Assignment:
        """The source's own assignment.

        Raises:
            ConfigError: If the source does not come split, or has too few training groups to validate on some.
            DataError: If it puts windows of one group on both sides.
        """
        if not all(group.splits for group in groups.values()):
            raise ConfigError(
                "OfficialSplit needs a source that comes split, but this one does not: choose FractionSplit, FoldSplit"
                " or FileSplit."
            )
        if torn := [name for name, group in groups.items() if len(group.splits) > 1]:
            raise DataError(
                f"The source's own split puts these groups on both sides: {some(torn)}. Choose FractionSplit or"
                " FoldSplit, which keep a group together."
            )
        assigned: Assignment = {s: [name for name, group in groups.items() if s in group.splits] for s in SPLITS}
        if not assigned["val"]:
            total = len(assigned["train"])
            count = max(1, round(self.val * total))
            if count >= total:
                raise ConfigError(
                    f"Expected `val` of OfficialSplit to leave groups to train on, but it takes {count} of {total}."
                )
            # Backwards, since the first of the order validate.
            order = shuffled(assigned["train"], self.seed)[::-1]
            assigned["train"], assigned["val"] = cut(groups, order, (1 - self.val, self.val), (total - count, count))
        return assigned


class LastFramesSplit(GroupSplit):
    """The course's split: the last frames validate, all others train, and there is no test split.

    Args:
        count: Frames that validate.
        test_on_validation: Test on the validation frames, which flatters a checkpoint chosen on them; it warns.
    """

    def __init__(self, count: int = 320, test_on_validation: bool = False) -> None:
        self.count = count
        self.test_on_validation = test_on_validation

    def assign(self, groups: Groups) -> Assignment:
        """Cut before the last `count` frames."""
        if not 0 < self.count < len(groups):
            raise ConfigError(
                f"Expected `count` of LastFramesSplit between 1 and {len(groups) - 1}, but got {self.count}:"
                f" there are {len(groups)} frames."
            )
        frames = list(groups)
        train, val = frames[: -self.count], frames[-self.count :]
        if self.test_on_validation:
            rank_zero_warn(
                "Testing on the validation frames (`test_on_validation`): the test metrics flatter a"
                " checkpoint that was chosen on these frames."
            )
        return {"train": train, "val": val, "test": val if self.test_on_validation else []}


class FileSplit(GroupSplit):
    """Frozen lists of groups in a JSON file: `{"train": ["0001", ...], "val": [...], "test": [...]}`.

    Groups that are in no list are not used. `write_split` of a data module writes such a file.

    Args:
        path: The JSON file.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    def __str__(self) -> str:
        return f"{type(self).__name__} ({self.path})"

    def assign(self, groups: Groups) -> Assignment:
        """The file's lists.

        Raises:
            DataError: If the file does not hold three lists of strings.
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
    """What a data module takes where no split is given: the source's own, if it comes with one."""
    return OfficialSplit() if any(group.splits for group in groups.values()) else FractionSplit()
