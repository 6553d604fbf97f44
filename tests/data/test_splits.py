import json
from itertools import chain

import pytest

from fusionlit.data.splits import (
    FileSplit,
    FractionSplit,
    FrameSplit,
    LastFramesSplit,
    check_assignment,
    save_assignment,
)
from fusionlit.errors import ConfigError, DataError

FRAMES = [f"{k:04d}" for k in range(1000)]


def test_fractions_cover_every_frame_once_in_the_asked_proportion():
    assigned = FractionSplit(0.7, 0.2, 0.1).assign(FRAMES)
    assert {split: len(frames) for split, frames in assigned.items()} == {"train": 700, "val": 200, "test": 100}
    assert sorted(chain(*assigned.values())) == FRAMES


def test_fractions_depend_on_their_own_seed_alone():
    assert FractionSplit(seed=1).assign(FRAMES) == FractionSplit(seed=1).assign(FRAMES)
    assert FractionSplit(seed=1).assign(FRAMES) != FractionSplit(seed=2).assign(FRAMES)


def test_a_missing_frame_moves_hardly_any_other():
    whole, less = FractionSplit().assign(FRAMES), FractionSplit().assign(FRAMES[:500] + FRAMES[501:])
    moved = [f for split in whole for f in set(whole[split]) - set(less[split]) - {"0500"}]
    assert len(moved) <= 2


@pytest.mark.parametrize("fractions", [(0.7, 0.2, 0.2), (1.2, -0.1, -0.1)])
def test_fractions_that_are_none_are_refused(fractions):
    with pytest.raises(ConfigError, match=rf"add up to 1, but got train={fractions[0]}, val={fractions[1]}"):
        FractionSplit(*fractions)


def test_the_course_validates_on_the_last_320_frames_and_has_no_test_split():
    assigned = LastFramesSplit().assign(FRAMES)
    assert (assigned["train"], assigned["val"], assigned["test"]) == (FRAMES[:680], FRAMES[680:], [])


def test_testing_on_validation_must_be_asked_for_and_is_said():
    split = LastFramesSplit(100, test_on_validation=True)
    with pytest.warns(UserWarning, match="Testing on the validation frames .* the test metrics flatter"):
        assigned = split.assign(FRAMES)
    assert assigned["test"] == assigned["val"] == FRAMES[900:]
    check_assignment(assigned, FRAMES, split)


@pytest.mark.parametrize("count", [0, 1000, 2000])
def test_last_frames_must_leave_some_to_train(count):
    with pytest.raises(ConfigError, match=f"`count` of LastFramesSplit between 1 and 999, but got {count}"):
        LastFramesSplit(count).assign(FRAMES)


def test_a_split_survives_its_file(tmp_path):
    assigned = FractionSplit().assign(FRAMES)
    save_assignment(tmp_path / "split.json", assigned)
    assert FileSplit(tmp_path / "split.json").assign(FRAMES) == assigned


def test_a_test_split_that_repeats_validation_is_not_frozen_as_one(tmp_path):
    save_assignment(tmp_path / "split.json", {"train": ["1"], "val": ["2"], "test": ["2"]})
    assert FileSplit(tmp_path / "split.json").assign([]) == {"train": ["1"], "val": ["2"], "test": []}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "expected a JSON file of frame lists, but it cannot be read"),
        ("[]", "expected the keys 'train', 'val' and 'test', but got list"),
        ('{"train": [], "val": []}', r"expected the keys .* but got \['train', 'val'\]"),
        ('{"train": [], "val": [1], "test": []}', "expected 'val' to be a list of file stems in quotes"),
        ('{"train": "0001", "val": [], "test": []}', "expected 'train' to be a list"),
    ],
)
def test_a_file_that_is_no_split_is_named(tmp_path, text, message):
    (tmp_path / "split.json").write_text(text)
    with pytest.raises(DataError, match=rf"split\.json: {message}"):
        FileSplit(tmp_path / "split.json").assign(FRAMES)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.json: expected a JSON file"):
        FileSplit(tmp_path / "gone.json").assign(FRAMES)


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        (
            (["0001"], ["0002", "0001"], []),
            "train and val overlap in 1 frames: 0001. A frame must be in one",
        ),
        ((["0001"], ["0002"], ["0002"]), "val and test overlap in 1 frames: 0002"),
        ((["0001", "x"], ["0002"], []), "the train split names frames that the data set lacks: x"),
        ((["0001", "0001"], ["0002"], []), "the train split names frames more than once: 0001"),
        ((FRAMES[:20], FRAMES[:20], []), r"overlap in 20 frames: .*0009, and 10 more"),
    ],
)
def test_overlaps_strangers_and_repetitions_are_refused_by_name(tmp_path, lists, message):
    path = tmp_path / "split.json"
    path.write_text(json.dumps(dict(zip(("train", "val", "test"), lists, strict=True))))
    split = FileSplit(path)
    with pytest.raises(DataError, match=rf"FileSplit \(.*split\.json\): .*{message}"):
        check_assignment(split.assign(FRAMES), FRAMES, split)


def test_a_split_of_ones_own_is_checked_too():
    class Everything(FrameSplit):
        def assign(self, frames):
            return {"train": list(frames), "val": list(frames), "test": []}

    with pytest.raises(DataError, match="Everything: train and val overlap in 1000 frames"):
        check_assignment(Everything().assign(FRAMES), FRAMES, Everything())
