"""Splits made of another split's training and validation groups."""

from itertools import chain

import pytest

from fusionlit.data import (
    ArrayDataModule,
    FileSplit,
    FractionSplit,
    Group,
    InnerFolds,
    LastFramesSplit,
    OfficialSplit,
    RefitSplit,
    ReplicatorDataModule,
    SignalDataModule,
)
from fusionlit.data.assignment import check_assignment, save_assignment
from fusionlit.errors import ConfigError, DataError

GROUPS = {f"{k:02d}": Group(stratum=k % 3) for k in range(40)}
OFFICIAL = {f"{k}": Group(("train",) if k % 3 else ("test",)) for k in range(30)}


@pytest.mark.parametrize(("split", "groups"), [(FractionSplit(seed=3), GROUPS), (OfficialSplit(), OFFICIAL)])
def test_a_refit_trains_on_training_and_validation_and_leaves_the_test_alone(split, groups):
    before, after = split.assign(groups), RefitSplit(split).assign(groups)
    assert sorted(after["train"]) == sorted([*before["train"], *before["val"]])
    assert (after["val"], after["test"]) == ([], before["test"])
    check_assignment(after, groups, RefitSplit(split))


@pytest.mark.parametrize(("split", "groups"), [(FractionSplit(seed=3), GROUPS), (OfficialSplit(), OFFICIAL)])
def test_every_group_that_does_not_test_validates_once_over_all_folds(split, groups):
    before, folds = split.assign(groups), [InnerFolds(split, 4, k, seed=2).assign(groups) for k in range(4)]
    inner = sorted([*before["train"], *before["val"]])
    assert sorted(chain(*(fold["val"] for fold in folds))) == inner
    for fold in folds:
        assert sorted([*fold["train"], *fold["val"]]) == inner
        assert fold["test"] == before["test"]
    assert max(len(fold["val"]) for fold in folds) - min(len(fold["val"]) for fold in folds) <= 1
    assert folds[0] != InnerFolds(split, 4, 0, seed=1).assign(groups)


def test_without_a_split_it_is_the_one_that_the_data_would_have():
    assert RefitSplit().assign(GROUPS)["test"] == FractionSplit().assign(GROUPS)["test"]
    assert RefitSplit().assign(OFFICIAL)["test"] == OfficialSplit().assign(OFFICIAL)["test"]


@pytest.mark.parametrize("make", [RefitSplit, InnerFolds])
def test_what_is_tested_is_never_trained_on(make):
    with pytest.raises(ConfigError, match=f"{make.__name__} trains on the validation groups of LastFramesSplit, but"):
        make(LastFramesSplit(5, test_on_validation=True))


@pytest.mark.parametrize("make", [RefitSplit, InnerFolds])
@pytest.mark.parametrize(
    ("val", "message"), [(["07", "99"], "are not in the data set: 99"), (["07", "01"], "overlap in 1 groups: 01")]
)
def test_what_is_wrong_with_the_other_split_is_said(tmp_path, make, val, message):
    save_assignment(tmp_path / "split.json", {"train": [f"{k:02d}" for k in range(7)], "val": val, "test": ["10"]})
    with pytest.raises(DataError, match=message):
        make(FileSplit(tmp_path / "split.json")).assign(GROUPS)


@pytest.mark.parametrize(("folds", "fold"), [(1, 0), (3, 3), (3, -1)])
def test_a_fold_that_is_none_is_refused(folds, fold):
    with pytest.raises(ConfigError, match=rf"`folds` >= 2 .* but got folds={folds}, fold={fold}"):
        InnerFolds(FractionSplit(), folds, fold)


def test_folds_need_as_many_groups():
    with pytest.raises(ConfigError, match="at least as many groups as folds, but got 3 groups for `folds` 5"):
        InnerFolds(FractionSplit(0.5, 0.25, 0.25)).assign(dict.fromkeys("abcd", Group()))


def test_a_data_module_trains_on_both_and_has_nothing_to_validate_on(shapes, make_trainer):
    plain, refit = ReplicatorDataModule(shapes), ReplicatorDataModule(shapes, split=RefitSplit(FractionSplit()))
    for data in (plain, refit):
        data.setup("fit")
    both = [*plain.dataset("train").rows.tolist(), *plain.dataset("val").rows.tolist()]
    assert sorted(refit.dataset("train").rows.tolist()) == sorted(both)
    assert refit.dataset("test").rows.tolist() == plain.dataset("test").rows.tolist()
    assert refit.class_counts().sum() == len(both)
    assert (plain.validates, refit.validates) == (True, False)
    with pytest.raises(ConfigError, match="validation split, but RefitSplit of FractionSplit also trains on the"):
        refit.val_dataloader()


@pytest.mark.parametrize("split", [RefitSplit(), InnerFolds(folds=2)], ids=str)
def test_signals_and_arrays_take_them(planted_signals, uci_har_folder, split):
    for data in (ArrayDataModule(planted_signals, split=split), SignalDataModule(uci_har_folder, split=split)):
        data.setup("fit")
        assert len(data.dataset("train"))
        assert len(data.dataset("test"))
        assert data.validates == split.validates
