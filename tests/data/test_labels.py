import numpy as np
import pytest

from fusionlit.data.labels import encode
from fusionlit.errors import DataError


@pytest.mark.parametrize(
    ("labels", "names", "target", "classes"),
    [
        ([1, 2, 3, 1], [], [0, 1, 2, 0], ("1", "2", "3")),
        ([10, 9, 2, 9], [], [2, 1, 0, 1], ("2", "9", "10")),
        ([3.0, -1.0], [], [1, 0], ("-1", "3")),
        ([True, False], [], [1, 0], ("0", "1")),
        (["run", " walk ", "run"], [], [0, 1, 0], ("run", "walk")),
        ([b"b", b"a"], [], [1, 0], ("a", "b")),
        ([1, 3, 2], ["x", "y", "z"], [0, 2, 1], ("x", "y", "z")),
        ([0, 2], ["x", "y", "z"], [0, 2], ("x", "y", "z")),
        (["z", "x"], ["x", "y", "z"], [2, 0], ("x", "y", "z")),
    ],
)
def test_labels_from_anywhere_become_labels_from_zero(labels, names, target, classes):
    codes, found = encode(np.array(labels), "set", names)
    assert codes.tolist() == target
    assert codes.dtype == np.int64
    assert found == classes


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        ([1.0, np.nan], [], "set: 1 of 2 labels are missing, the first at window 1"),
        (["a", "", "?"], [], "set: 2 of 3 labels are missing, the first at window 1"),
        (["a", "nan", " NaN ", "nano"], [], "set: 2 of 4 labels are missing, the first at window 1"),
        ([b"a", b"NAN"], ["a", "NAN"], "set: 1 of 2 labels are missing, the first at window 1"),
        (["a"], ["a", "b", "a"], r"set: expected unique class names, but got \['a', 'b', 'a'\]\. Give each class"),
        (
            ["é".encode("latin-1"), b"a"],
            [],
            r"set: expected text in UTF-8, but got b'\\xe9' in another encoding\. Decode",
        ),
        ([1.5, 2.0], [], r"set: expected labels as text or whole numbers, but got 1\.5"),
        ([1 + 1j], [], "set: expected labels as text or whole numbers, but got complex128"),
        (["a", "q"], ["a", "b"], r"set: expected labels among \['a', 'b'\], but got \['q'\]"),
        ([1, 4], ["a", "b", "c"], "count the 3 classes from 0 or from 1, but got labels from 1 to 4"),
        ([-1, 1], ["a", "b", "c"], "but got labels from -1 to 1"),
        ([0, 3], ["a", "b", "c"], "but got labels from 0 to 3"),
        (
            [1, 2],
            ["a", "b", "c"],
            "whether the 3 classes are counted from 0 or from 1, but got labels from 1 to 2",
        ),
    ],
)
def test_labels_that_mean_nothing_are_refused(labels, names, message):
    with pytest.raises(DataError, match=message):
        encode(np.array(labels), "set", names)
