"""Splits that reassign the training and validation groups of another split, and keep its test split."""

from collections.abc import Collection

from fusionlit.data.assignment import Assignment, GroupSplit, check_assignment
from fusionlit.data.groups import Groups
from fusionlit.data.splits import default_split
from fusionlit.data.strata import deal
from fusionlit.errors import ConfigError


class RefitSplit(GroupSplit):
    """Train on the training and validation groups of another split, without validation.

    For the final training, when everything has been selected: `fusionlit fit --refit true`.

    Args:
        split: The split whose validation groups are added to training; default: the data's default split.

    Raises:
        ConfigError: If that split tests on its validation groups.
    """

    validates = False

    def __init__(self, split: GroupSplit | None = None) -> None:
        check_test_is_apart(split, type(self).__name__)
        self.split = split

    def __str__(self) -> str:
        return f"{type(self).__name__} of {self.split or 'the default split'}"

    def assign(self, groups: Groups) -> Assignment:
        """The groups of the other split, with validation moved to training."""
        assigned = assign_checked(self.split, groups)
        return {"train": [*assigned["train"], *assigned["val"]], "val": [], "test": assigned["test"]}


class InnerFolds(GroupSplit):
    """Validate on one of K folds of the training and validation groups of another split, and train on the others.

    Over all folds, each of these groups is used for validation once. The test split of the other split is kept.

    Args:
        split: The split whose training and validation groups form the folds; default: the data's default split.
        folds: Number of folds, K, at least 2.
        fold: The validation fold, 0 to K - 1.
        seed: Seed of the folds; use the same for all folds.

    Raises:
        ConfigError: If `folds` or `fold` is out of range, or the other split tests on its validation groups.
    """

    def __init__(self, split: GroupSplit | None = None, folds: int = 5, fold: int = 0, seed: int = 0) -> None:
        if folds < 2 or not 0 <= fold < folds:
            raise ConfigError(
                f"Expected `folds` >= 2 (one to validate, others to train) and `fold` from 0 to `folds` - 1, but got"
                f" {folds=}, {fold=}."
            )
        check_test_is_apart(split, type(self).__name__)
        self.split, self.folds, self.fold, self.seed = split, folds, fold, seed

    def __str__(self) -> str:
        return f"{type(self).__name__} of {self.split or 'the default split'}"

    def assign(self, groups: Groups) -> Assignment:
        """Distribute the training and validation groups over the folds.

        Raises:
            ConfigError: If there are fewer groups than folds.
        """
        assigned = assign_checked(self.split, groups)
        inner = {*assigned["train"], *assigned["val"]}
        dealt = deal({group: own for group, own in groups.items() if group in inner}, self.folds, self.seed)
        train = [group for k, fold in enumerate(dealt) if k != self.fold for group in fold]
        return {"train": train, "val": dealt[self.fold], "test": assigned["test"]}


def check_test_is_apart(split: GroupSplit | None, name: str) -> None:
    """Raise ConfigError if a split tests on its validation groups, which would become training groups.

    Raises:
        ConfigError: If it does.
    """
    if split is not None and split.test_on_validation:
        raise ConfigError(
            f"{name} trains on the validation groups of {split}, but {split} also tests on them: leave out"
            " `test_on_validation`."
        )


def assign_checked(split: GroupSplit | None, groups: Groups, known: Collection[str] | None = None) -> Assignment:
    """The assignment of a split, or of the default split, after `check_assignment`.

    Args:
        split: The split; None for the default split.
        groups: All groups to assign.
        known: Groups that the split may name; default: `groups`.

    Raises:
        DataError: If the assignment is invalid, which could no longer be detected once its splits are merged.
    """
    split = split or default_split(groups)
    assigned = split.assign(groups)
    check_assignment(assigned, groups if known is None else known, split)
    return assigned
