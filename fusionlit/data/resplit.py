"""Other uses of the groups that another split trains and validates on; its test split stays as it is."""

from collections.abc import Collection

from fusionlit.data.assignment import Assignment, GroupSplit, check_assignment
from fusionlit.data.groups import Groups
from fusionlit.data.splits import default_split
from fusionlit.data.strata import deal
from fusionlit.errors import ConfigError


class RefitSplit(GroupSplit):
    """Train on the training and the validation groups of another split; there is no validation.

    For the last training, when everything has been chosen: `fusionlit fit --refit true`.

    Args:
        split: The split whose validation groups join the training; default: the one that the data would have.

    Raises:
        ConfigError: If that one tests on its validation groups.
    """

    validates = False

    def __init__(self, split: GroupSplit | None = None) -> None:
        check_test_is_apart(split, type(self).__name__)
        self.split = split

    def __str__(self) -> str:
        return f"{type(self).__name__} of {self.split or 'the default split'}"

    def assign(self, groups: Groups) -> Assignment:
        """The other split's groups, validation with training."""
        assigned = assign_checked(self.split, groups)
        return {"train": [*assigned["train"], *assigned["val"]], "val": [], "test": assigned["test"]}


class InnerFolds(GroupSplit):
    """One of K folds of the training and the validation groups of another split: fold k validates, the others train.

    Over all k every one of these groups validates once. The test split is the other split's, the same for all k.

    Args:
        split: The split whose training and validation groups are dealt anew; default: the one that the data would have.
        folds: Number of folds, K.
        fold: The fold that validates, 0 to K - 1.
        seed: Seed of the folds; the same for all k.

    Raises:
        ConfigError: If `fold` is none of at least two folds, or the other split tests on its validation groups.
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
        """Deal what does not test to the folds.

        Raises:
            ConfigError: If there are fewer groups than folds.
        """
        assigned = assign_checked(self.split, groups)
        inner = {*assigned["train"], *assigned["val"]}
        dealt = deal({group: own for group, own in groups.items() if group in inner}, self.folds, self.seed)
        train = [group for k, fold in enumerate(dealt) if k != self.fold for group in fold]
        return {"train": train, "val": dealt[self.fold], "test": assigned["test"]}


def check_test_is_apart(split: GroupSplit | None, name: str) -> None:
    """Refuse to train on what is tested.

    Raises:
        ConfigError: If the split tests on its validation groups.
    """
    if split is not None and split.test_on_validation:
        raise ConfigError(
            f"{name} trains on the validation groups of {split}, but that split tests on them: leave out"
            " `test_on_validation`."
        )


def assign_checked(split: GroupSplit | None, groups: Groups, known: Collection[str] | None = None) -> Assignment:
    """What a split, or the default one, assigns.

    Args:
        split: The split.
        groups: All groups that it is to assign.
        known: Groups that it may name; default: these.

    Raises:
        DataError: If that cannot be used; once mixed, it would not be seen.
    """
    split = split or default_split(groups)
    assigned = split.assign(groups)
    check_assignment(assigned, groups if known is None else known, split)
    return assigned
