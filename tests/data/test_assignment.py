"""What every split must hold to."""

import json

import pytest

from fusionlit.data.assignment import GroupSplit, check_assignment
from fusionlit.data.groups import Group
from fusionlit.data.splits import FileSplit, LastFramesSplit
from fusionlit.errors import DataError

FRAMES = [f"{k:04d}" for k in range(1000)]
GROUPS = dict.fromkeys(FRAMES, Group())


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        (
            (["0001"], ["0002", "0001"], []),
            "train and val overlap in 1 groups: 0001. Put each group .* in one",
        ),
        ((["0001"], ["0002"], ["0002"]), "val and test overlap in 1 groups: 0002"),
        ((["0001", "x"], ["0002"], []), "the train split names groups that are not in the data set: x"),
        ((["0001", "0001"], ["0002"], []), "the train split names groups more than once: 0001"),
        ((FRAMES[:20], FRAMES[:20], []), r"overlap in 20 groups: .*0009, and 10 more"),
    ],
)
def test_overlaps_strangers_and_repetitions_are_refused_by_name(tmp_path, lists, message):
    path = tmp_path / "split.json"
    path.write_text(json.dumps(dict(zip(("train", "val", "test"), lists, strict=True))))
    split = FileSplit(path)
    with pytest.raises(DataError, match=rf"FileSplit \(.*split\.json\): .*{message}"):
        check_assignment(split.assign(GROUPS), FRAMES, split)


def test_a_split_of_ones_own_is_checked_too():
    class Everything(GroupSplit):
        def assign(self, groups):
            return {"train": list(groups), "val": list(groups), "test": []}

    with pytest.raises(DataError, match="Everything: train and val overlap in 1000 groups"):
        check_assignment(Everything().assign(GROUPS), FRAMES, Everything())


def test_leave_to_test_on_validation_is_no_leave_to_test_on_training():
    split = LastFramesSplit(test_on_validation=True)
    check_assignment({"train": ["0001"], "val": ["0002"], "test": ["0002"]}, FRAMES, split)
    with pytest.raises(DataError, match="LastFramesSplit: train and test overlap in 1 groups: 0001"):
        check_assignment({"train": ["0001"], "val": ["0002"], "test": ["0001"]}, FRAMES, split)
