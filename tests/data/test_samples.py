"""What a data set hands over before it is split."""

from dataclasses import replace

import numpy as np
import pytest

from fusionlit.data import FileRows, Samples, make_targets
from fusionlit.errors import DataError

SAMPLES = Samples({"a": np.zeros((4, 3))}, make_targets(["x", "y", "x", "y"]), list("ppqq"), source="set")


def test_all_samples_are_usable_unless_said():
    assert SAMPLES.usable.tolist() == [0, 1, 2, 3]
    assert replace(SAMPLES, rows=np.array([1, 3])).usable.tolist() == [1, 3]


def test_lists_and_numbers_are_taken_as_they_are_meant():
    samples = replace(SAMPLES, groups=np.array([1, 1, 2, 2]), official=np.array(["train", "val", "test", "test"]))
    assert (samples.groups, samples.official) == (["1", "1", "2", "2"], ["train", "val", "test", "test"])
    assert replace(SAMPLES, rows=[1, 3], presence={"a": [1, 0, 1, 1]}).presence["a"].dtype == bool


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"groups": ["p"]}, r"set: expected at least one sample.* but got 4 targets, 4 of 'a', 1 groups, 4 official\."),
        ({"inputs": {"a": np.zeros((5, 3))}}, "but got 4 targets, 5 of 'a', 4 groups"),
        ({"inputs": {"a": FileRows([], np.load)}}, "but got 4 targets, 0 of 'a', 4 groups"),
        ({"presence": {"a": np.ones(3, bool)}}, "4 groups, 3 presence of 'a'"),
        ({"official": ["train"]}, "4 groups, 1 official"),
        (
            {"official": ["train", "val", "Test", "dev"]},
            "expected 'train', 'val' and 'test' as names .*, but got Test, dev",
        ),
        ({"targets": np.zeros(4)}, r"expected `targets` from `make_targets\(values\)`, but got ndarray"),
        ({"rows": [2, 1]}, "expected `rows` to be numbers of the 4 samples, each once, in order"),
        ({"rows": [1, 1]}, "expected `rows` to be numbers of the 4 samples"),
        ({"rows": [1, 4]}, "expected `rows` to be numbers of the 4 samples"),
        ({"targets": replace(SAMPLES).targets._replace(values=SAMPLES.targets.values[:0]), "groups": []}, "got 0 targ"),
    ],
)
def test_parts_that_do_not_fit_each_other_are_refused(changes, message):
    with pytest.raises(DataError, match=message):
        replace(SAMPLES, **changes)


def test_files_are_read_when_they_are_gathered(tmp_path):
    paths = [tmp_path / f"{k}.npy" for k in range(3)]
    for k, path in enumerate(paths):
        np.save(path, np.full((2, k + 1 if k == 2 else 1), k, np.int16))
    read = []
    rows = FileRows(paths, lambda path: read.append(path.stem) or np.load(path))
    assert read == []
    values = rows[np.array([1, 0, 1])]
    assert values.dtype == np.int16
    assert values[:, 0, 0].tolist() == [1, 0, 1]
    assert read == ["1", "0", "1"]
    with pytest.raises(DataError, match=r"2\.npy: expected shape \(2, 1\), as in .*0\.npy, but got \(2, 3\)\. Pad"):
        rows[np.array([0, 2])]
