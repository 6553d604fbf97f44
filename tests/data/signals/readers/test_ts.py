import numpy as np
import pytest

from fusionlit.data.signals.readers.ts import TSReader
from fusionlit.data.signals.windows import Grid
from fusionlit.errors import DataError

HEAD = """# A comment
@problemName Motions
@timeStamps false
@missing false
@univariate false
@dimensions 2
@equalLength true
@seriesLength 5
@classLabel true walk run
@data
"""


def line(window, label):
    return ":".join([*(",".join(map(str, channel)) for channel in window), label])


def write(path, windows, labels, head=HEAD):
    lines = [line(window.tolist(), label) for window, label in zip(windows, labels, strict=True)]
    path.write_text(head + "\n".join(lines) + "\n")


@pytest.fixture
def pair(tmp_path):
    x = np.random.default_rng(0).normal(size=(7, 2, 5)).astype(np.float32)
    labels = ["run", "walk", "walk", "run", "run", "walk", "run"]
    write(tmp_path / "Motions_TRAIN.ts", x[:4], labels[:4])
    write(tmp_path / "Motions_TEST.ts", x[4:], labels[4:])
    return tmp_path, x, [{"walk": 0, "run": 1}[label] for label in labels]


@pytest.mark.parametrize("root", ["", "Motions_TRAIN.ts", "Motions_TEST.ts"])
def test_a_pair_is_read_with_its_official_split(pair, root):
    folder, x, labels = pair
    windows = TSReader().read(folder / root)
    np.testing.assert_array_equal(np.stack([c.values for c in windows.channels.values()], 1), x)
    assert list(windows.channels) == ["dim_0", "dim_1"]
    assert windows.target.tolist() == labels
    assert windows.classes == ("walk", "run")
    assert windows.official.tolist() == ["train"] * 4 + ["test"] * 3
    assert len(set(windows.group.tolist())) == 7
    assert TSReader().header(folder / root) == windows.header == ({"dim_0": Grid(5), "dim_1": Grid(5)}, ("walk", "run"))


def test_a_single_file_has_no_split(pair):
    folder, x, _ = pair
    (folder / "Motions_TEST.ts").rename(folder / "all.ts")
    windows = TSReader().read(folder / "all.ts")
    assert windows.official is None
    np.testing.assert_array_equal(windows.channels["dim_1"].values, x[4:, 1])


def test_univariate_files_and_question_marks_are_read(tmp_path):
    (tmp_path / "one.ts").write_text("@univariate true\n@classLabel true 1 2\n@data\n1,?,3:2\n\n4,5.5,6e-1:1\n")
    windows = TSReader().read(tmp_path / "one.ts")
    np.testing.assert_array_equal(windows.channels["dim_0"].values, np.float32([[1, np.nan, 3], [4, 5.5, 0.6]]))
    assert windows.target.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            "1,2,3:4,5,6:run\n1,2:4,5:run\n",
            r"bad.ts, line 12: expected 2 channels of 3 values, .* but got lengths \[2, 2\]",
        ),
        ("1,2,3:4,5,6:run\n1,2,3:run\n", r"line 12: expected 2 channels of 3 values, .* but got lengths \[3\]"),
        ("1,2,3:4,5:run\n", r"line 11: expected 2 channels of 3 values, .* but got lengths \[3, 2\]"),
        ("1,2,3:4,5,6:jump\n", r"line 11: expected one of the classes \['walk', 'run'\] last, but got 'jump'"),
        ("1,2,3:4,5,6\n", r"line 11: expected one of the classes .* but got '4,5,6'"),
        ("1,x,3:4,5,6:run\n", "line 11: expected numbers separated by commas .* 'x'"),
        ("", "expected one window per line below @data, but there is none"),
    ],
)
def test_broken_windows_are_named_by_line(tmp_path, lines, message):
    (tmp_path / "bad.ts").write_text(HEAD + lines)
    with pytest.raises(DataError, match=message):
        TSReader().read(tmp_path / "bad.ts")


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("1,2:run\n", "bad.ts, line 1: expected tags such as .* but got '1,2:run'"),
        ("@classLabel true a b\n", "expected a line '@data' above the windows, but there is none"),
        ("@timestamps true\n@classLabel true a b\n@data\n", "expected '@timestamps false'"),
        ("@classLabel false\n@data\n", "expected '@classLabel true' with the class names, but got 'false'"),
        ("@targetLabel true\n@data\n", "expected '@classLabel true' with the class names, but got None"),
    ],
)
def test_headers_that_cannot_be_used_are_refused(tmp_path, head, message):
    (tmp_path / "bad.ts").write_text(head)
    with pytest.raises(DataError, match=message):
        TSReader().header(tmp_path / "bad.ts")


def test_both_files_must_have_the_same_classes(pair):
    folder, x, _ = pair
    write(folder / "Motions_TEST.ts", x[4:], ["hop"] * 3, HEAD.replace("walk run", "hop run"))
    with pytest.raises(DataError, match=r"_TEST.ts: expected the classes \['walk', 'run'\], but got \['hop', 'run'\]"):
        TSReader().read(folder)


def test_a_test_file_without_windows_is_named(pair):
    folder, _, _ = pair
    (folder / "Motions_TEST.ts").write_text(HEAD)
    with pytest.raises(
        DataError, match=r"_TEST.ts: expected one window per line below @data, but there is none\. Copy"
    ):
        TSReader().read(folder)


def test_a_folder_with_several_sets_is_refused(pair):
    folder, _, _ = pair
    (folder / "Other_TRAIN.ts").write_text("")
    with pytest.raises(
        DataError, match=r"expected one pair NAME_TRAIN.ts and NAME_TEST.ts, but got .*'Other_TRAIN.ts'"
    ):
        TSReader().header(folder)
