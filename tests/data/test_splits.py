from itertools import chain

import pytest

from fusionlit.data.assignment import check_assignment, save_assignment
from fusionlit.data.groups import Group
from fusionlit.data.splits import FileSplit, FoldSplit, FractionSplit, LastFramesSplit, OfficialSplit
from fusionlit.errors import ConfigError, DataError
from fusionlit.types import SPLITS

FRAMES = [f"{k:04d}" for k in range(1000)]
GROUPS = dict.fromkeys(FRAMES, Group())
OFFICIAL = {f"{k}": Group(("train",) if k % 3 else ("test",)) for k in range(30)}


def test_fractions_cover_every_frame_once_in_the_asked_proportion():
    assigned = FractionSplit(0.7, 0.2, 0.1).assign(GROUPS)
    assert {split: len(frames) for split, frames in assigned.items()} == {"train": 700, "val": 200, "test": 100}
    assert sorted(chain(*assigned.values())) == FRAMES


def test_fractions_depend_on_their_own_seed_alone():
    assert FractionSplit(seed=1).assign(GROUPS) == FractionSplit(seed=1).assign(GROUPS)
    assert FractionSplit(seed=1).assign(GROUPS) != FractionSplit(seed=2).assign(GROUPS)


def test_a_missing_frame_moves_hardly_any_other():
    whole, less = (
        FractionSplit().assign(GROUPS),
        FractionSplit().assign(dict.fromkeys(FRAMES[:500] + FRAMES[501:], Group())),
    )
    moved = [f for split in whole for f in set(whole[split]) - set(less[split]) - {"0500"}]
    assert len(moved) <= 2


@pytest.mark.parametrize("fractions", [(0.7, 0.2, 0.2), (1.2, -0.1, -0.1)])
def test_fractions_that_are_none_are_refused(fractions):
    with pytest.raises(ConfigError, match=rf"add up to 1, but got train={fractions[0]}, val={fractions[1]}"):
        FractionSplit(*fractions)


def test_the_course_validates_on_the_last_320_frames_and_has_no_test_split():
    assigned = LastFramesSplit().assign(GROUPS)
    assert (assigned["train"], assigned["val"], assigned["test"]) == (FRAMES[:680], FRAMES[680:], [])


def test_testing_on_validation_must_be_asked_for_and_is_said():
    split = LastFramesSplit(100, test_on_validation=True)
    with pytest.warns(UserWarning, match="Testing on the validation frames .* the test metrics are too optimistic"):
        assigned = split.assign(GROUPS)
    assert assigned["test"] == assigned["val"] == FRAMES[900:]
    check_assignment(assigned, FRAMES, split)


@pytest.mark.parametrize("count", [0, 1000, 2000])
def test_last_frames_must_leave_some_to_train(count):
    with pytest.raises(ConfigError, match=f"`count` of LastFramesSplit between 1 and 999, .* but got {count}"):
        LastFramesSplit(count).assign(GROUPS)


def test_a_split_survives_its_file(tmp_path):
    assigned = FractionSplit().assign(GROUPS)
    save_assignment(tmp_path / "split.json", assigned)
    assert FileSplit(tmp_path / "split.json").assign(GROUPS) == assigned


def test_a_test_split_that_repeats_validation_is_not_frozen_as_one(tmp_path):
    save_assignment(tmp_path / "split.json", {"train": ["1"], "val": ["2"], "test": ["2"]})
    assert FileSplit(tmp_path / "split.json").assign({}) == {"train": ["1"], "val": ["2"], "test": []}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "expected a JSON file of group lists, but it cannot be read"),
        ("[]", "expected the keys 'train', 'val' and 'test', but got list"),
        ('{"train": [], "val": []}', r"expected the keys .* but got \['train', 'val'\]"),
        ('{"train": [], "val": [1], "test": []}', "expected 'val' to be a list of groups .* in quotes"),
        ('{"train": "0001", "val": [], "test": []}', "expected 'train' to be a list"),
    ],
)
def test_a_file_that_is_no_split_is_named(tmp_path, text, message):
    (tmp_path / "split.json").write_text(text)
    with pytest.raises(DataError, match=rf"split\.json: {message}"):
        FileSplit(tmp_path / "split.json").assign(GROUPS)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.json: expected a JSON file"):
        FileSplit(tmp_path / "gone.json").assign(GROUPS)


def test_every_group_tests_once_over_all_folds_and_never_on_two_sides():
    folds = [FoldSplit(7, k, seed=3).assign(GROUPS) for k in range(7)]
    assert sorted(chain(*(assigned["test"] for assigned in folds))) == FRAMES
    for k, assigned in enumerate(folds):
        assert sorted(chain(*assigned.values())) == FRAMES
        assert assigned["val"] == folds[(k + 1) % 7]["test"]
        assert len(assigned["test"]) in (1000 // 7, 1000 // 7 + 1)


def test_folds_depend_on_their_own_seed_alone():
    assert FoldSplit(seed=1).assign(GROUPS) == FoldSplit(seed=1).assign(GROUPS)
    assert FoldSplit(seed=1).assign(GROUPS) != FoldSplit(seed=2).assign(GROUPS)


@pytest.mark.parametrize(("folds", "fold"), [(2, 0), (5, 5), (5, -1)])
def test_a_fold_that_is_none_is_refused(folds, fold):
    with pytest.raises(ConfigError, match=rf"`folds` >= 3 .* but got folds={folds}, fold={fold}"):
        FoldSplit(folds, fold)


def test_folds_need_as_many_groups():
    with pytest.raises(ConfigError, match="at least as many groups as folds, but got 4 groups for `folds` 5"):
        FoldSplit().assign(dict.fromkeys("abcd", Group()))


def test_the_official_split_cuts_validation_from_its_training_groups():
    assigned = OfficialSplit(val=0.25, seed=1).assign(OFFICIAL)
    assert assigned["test"] == [group for group, (splits, _) in OFFICIAL.items() if splits == ("test",)]
    assert (len(assigned["train"]), len(assigned["val"])) == (15, 5)
    assert sorted(chain(*assigned.values())) == sorted(OFFICIAL)
    assert assigned["val"] != OfficialSplit(val=0.25, seed=2).assign(OFFICIAL)["val"]


def test_the_official_split_takes_at_least_one_group_to_validate_on():
    assigned = OfficialSplit(val=0.01).assign({"a": Group(("train",)), "b": Group(("train",)), "c": Group(("test",))})
    assert [len(assigned[split]) for split in SPLITS] == [1, 1, 1]


def test_an_official_validation_split_is_taken_as_it_is():
    groups = {"a": Group(("train",)), "b": Group(("val",)), "c": Group(("test",)), "d": Group(("train",))}
    assert OfficialSplit(val=0.5).assign(groups) == {"train": ["a", "d"], "val": ["b"], "test": ["c"]}


@pytest.mark.parametrize("val", [0.0, 1.0])
def test_the_official_splits_fraction_is_checked(val):
    with pytest.raises(ConfigError, match=f"`val` of OfficialSplit between 0 and 1, but got {val}"):
        OfficialSplit(val)


def test_the_official_split_must_leave_groups_to_train_on():
    with pytest.raises(ConfigError, match="to leave groups for training, but it takes 1 of 1"):
        OfficialSplit().assign({"a": Group(("train",)), "b": Group(("test",))})


def test_a_source_without_a_split_has_no_official_one():
    with pytest.raises(ConfigError, match=r"source with an official split .* use FractionSplit"):
        OfficialSplit().assign(GROUPS)


def test_an_official_split_that_tears_a_group_apart_is_refused():
    with pytest.raises(DataError, match=r"puts these into several splits: b\. Use FractionSplit"):
        OfficialSplit().assign({"a": Group(("train",)), "b": Group(("train", "test"))})
