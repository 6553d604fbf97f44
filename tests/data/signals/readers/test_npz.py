import numpy as np
import pytest

from fusionlit.data.signals.readers.npz import NPZReader
from fusionlit.data.signals.windows import Grid
from fusionlit.errors import DataError

X = np.random.default_rng(0).normal(size=(6, 2, 5)).astype(np.float32)
Y = np.array([1, 2, 3, 1, 2, 3])


@pytest.fixture
def save(tmp_path):
    def run(**arrays):
        np.savez(tmp_path / "set.npz", **arrays)
        return tmp_path / "set.npz"

    return run


def test_one_archive_is_read(save):
    path = save(X=X, y=Y, channels=["a", "b"], groups=["p", "p", "q", "q", "r", "r"], rate=20.0, units=["g", "V"])
    windows = NPZReader().read(path)
    np.testing.assert_array_equal(np.stack([c.values for c in windows.channels.values()], 1), X)
    assert windows.target.tolist() == [0, 1, 2, 0, 1, 2]
    assert windows.classes == ("1", "2", "3")
    assert windows.group.tolist() == ["p", "p", "q", "q", "r", "r"]
    assert windows.official is None
    assert NPZReader().header(path) == windows.header
    assert windows.header.channels == {"a": Grid(5, 20.0, "g"), "b": Grid(5, 20.0, "V")}


def test_arrays_that_come_split_give_the_official_split(save):
    path = save(
        X_train=X[:3], y_train=Y[:3], subject_train=[7, 7, 8], X_test=X[3:], y_test=Y[3:], subject_test=[9, 9, 9],
        classes=["walk", "run", "sit"],
    )  # fmt: skip
    windows = NPZReader().read(path)
    np.testing.assert_array_equal(windows.channels["channel_1"].values, X[:, 1])
    assert windows.group.tolist() == ["7", "7", "8", "9", "9", "9"]
    assert windows.official.tolist() == ["train"] * 3 + ["test"] * 3
    assert windows.classes == ("walk", "run", "sit")
    assert windows.target.tolist() == [0, 1, 2, 0, 1, 2]


def test_without_groups_every_window_is_one(save):
    windows = NPZReader().read(
        save(X_train=X[:2], y_train=Y[:2], X_val=X[2:4], y_val=Y[2:4], X_test=X[4:], y_test=Y[4:])
    )
    assert len(set(windows.group.tolist())) == 6
    assert windows.official.tolist() == ["train"] * 2 + ["val"] * 2 + ["test"] * 2


def test_integers_and_missing_values_are_read(save):
    x = X.astype(np.float64)
    x[1, 0, 2] = np.nan
    values = NPZReader().read(save(X=x, y=Y)).channels["channel_0"].values
    assert values.dtype == np.float32
    assert np.argwhere(np.isnan(values)).tolist() == [[1, 2]]
    assert NPZReader().read(save(X=(10 * X).astype(np.int16), y=Y)).channels["channel_0"].values.dtype == np.float32


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X, "y": Y}, r"expected an array 'X', or 'X_train' and 'X_test', but got \['x', 'y'\]"),
        ({"X_test": X, "y_test": Y}, "expected an array 'X', or 'X_train'"),
        ({"X": X}, r"labels are missing: expected an array 'y' \(6,\)"),
        ({"X_train": X, "y_train": Y, "X_test": X}, "labels are missing: expected an array 'y_test'"),
        ({"X": X, "y": Y[:5]}, r"array 'y': expected \(6,\), one label for each window of X, but got \(5,\)"),
        (
            {"X": X[:, 0], "y": Y},
            r"array 'X': expected a non-empty array of numbers \(n, channels, time\), but got \(6, 5\) float32",
        ),
        ({"X": X.astype(str), "y": Y}, r"array 'X': expected a non-empty array of numbers .* but got \(6, 2, 5\) <U"),
        ({"X": X[:0], "y": Y[:0]}, "expected a non-empty array"),
        ({"X": X, "y": Y, "channels": ["a"]}, r"array 'channels': expected text or integers \(2,\)"),
        ({"X": X, "y": Y, "channels": ["a", "a"]}, r"array 'channels': expected unique names, but got \['a', 'a'\]"),
        ({"X": X, "y": Y, "groups": [1, 2]}, r"array 'groups': expected text or integers \(6,\)"),
        ({"X": X, "y": Y, "classes": ["a", "b"]}, "count the 2 classes from 0 or from 1, but got labels from 1 to 3"),
        ({"X": X, "y": Y, "classes": ["a", "b", "a"]}, r"expected unique class names, but got \['a', 'b', 'a'\]"),
        (
            {"X": X, "y": Y, "classes": [["a", "b", "c"]]},
            r"'classes': expected text, one name per class, but got \(1, 3\)",
        ),
        ({"X": X, "y": np.array(["é".encode("latin-1")] * 6)}, r"array 'y': expected text in UTF-8, but got b'\\xe9'"),
        (
            {"X": X, "y": Y, "rate": [20.0, 50.0]},
            r"array 'rate': expected one number above 0, .* but got \(2,\) float64\.",
        ),
        (
            {"X": X, "y": Y, "rate": "50Hz"},
            r"array 'rate': expected one number above 0, .* but got \(\) <U4\. Correct it",
        ),
        (
            {"X": X, "y": Y, "rate": -50},
            r"samples per second \(Hz\) of all channels, but got -50\. Correct it, or leave",
        ),
        ({"X": X, "y": Y, "rate": np.nan}, "array 'rate': expected one number above 0, .* but got nan"),
        ({"X": X, "y": Y, "rate": np.inf}, "array 'rate': expected one number above 0, .* but got inf"),
        (
            {"X": X, "y": Y, "X_train": X, "y_train": Y},
            r"expected either 'X', or 'X_train' and 'X_test', but got \['X', 'X_train'\]\. Leave out 'X'",
        ),
        (
            {"X_train": X, "y_train": Y, "groups_train": Y, "X_test": X, "y_test": Y},
            r"expected the groups of all windows in \['groups_train', 'groups_test'\] or \['subject_train',"
            r" 'subject_test'\], but got \['groups_train'\]\. Add missing arrays",
        ),
        (
            {"X_train": X, "y_train": Y, "groups": np.arange(12), "X_test": X, "y_test": Y},
            r"expected the groups of all windows in .* but got \['groups'\]",
        ),
        ({"X": X, "y": Y, "groups": Y, "subject": Y}, r"but got \['groups', 'subject'\]\. .* remove the others"),
        (
            {"X_train": X, "y_train": Y, "X_test": X[:, :1], "y_test": Y},
            r"array 'X_test': expected \(channels, time\) \(2, 5\) as in X_train, but got \(1, 5\)",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_named(save, arrays, message):
    path = save(**arrays)
    with pytest.raises(DataError, match=f"set.npz.*{message}"):
        NPZReader().read(path)


def test_class_names_and_labels_may_be_bytes(save):
    labels = np.char.encode(["ö", "a", "ö", "a", "a", "ö"], "utf-8")
    arrays = {"X_train": X[:3], "y_train": labels[:3], "X_test": X[3:], "y_test": np.array(["a", "a", "ö"])}
    windows = NPZReader().read(save(**arrays, classes=np.char.encode(["ö", "a"], "utf-8")))
    assert windows.classes == ("ö", "a")
    assert windows.target.tolist() == [0, 1, 0, 1, 1, 0]


def test_a_rate_may_be_an_array_of_one_number(save):
    assert NPZReader().header(save(X=X, y=Y, rate=[50])).channels["channel_0"].rate == 50.0


def test_ragged_windows_are_refused(save):
    ragged = np.array([np.zeros(3), np.zeros(4)], dtype=object)
    with pytest.raises(DataError, match=r"array 'X'.*Python objects"):
        NPZReader().header(save(X=ragged, y=Y[:2]))


def test_a_damaged_archive_is_named(save):
    path = save(X=X, y=Y)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r"set.npz: expected an NPZ file"):
        NPZReader().header(path)
