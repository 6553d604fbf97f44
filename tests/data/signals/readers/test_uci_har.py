import numpy as np
import pytest

from fusionlit.data.signals.readers.uci_har import CHANNELS, UCIHARReader
from fusionlit.data.signals.windows import Grid
from fusionlit.errors import DataError

SIGNAL = "train/Inertial Signals/body_acc_y_train.txt"


def edit(path, line, text):
    lines = path.read_text().splitlines()
    lines[line - 1] = text(lines[line - 1])
    path.write_text("\n".join(lines) + "\n")


def test_the_folder_is_read_as_it_was_written(uci_har):
    root, written = uci_har
    windows = UCIHARReader().read(root)
    for i, name in enumerate(CHANNELS):
        np.testing.assert_allclose(windows.channels[name].values, written["x"][:, i], rtol=1e-6)
    assert (windows.target == written["label"] - 1).all()
    assert windows.group.tolist() == [str(subject) for subject in written["subject"]]
    assert set(windows.group[windows.official == "test"].tolist()) == {"2", "4"}
    assert windows.overlapping


def test_the_header_tells_what_the_windows_are(uci_har):
    root, _ = uci_har
    header = UCIHARReader().header(root)
    assert header == UCIHARReader().read(root).header
    assert list(header.channels)[3] == "body_gyro_x"
    assert header.channels["body_gyro_x"] == Grid(16, 50.0, "rad/s")
    assert header.channels["total_acc_z"] == Grid(16, 50.0, "g")
    assert header.classes == ("WALKING", "WALKING_UPSTAIRS", "WALKING_DOWNSTAIRS", "SITTING", "STANDING", "LAYING")


def test_only_the_channels_that_are_asked_for_are_read(uci_har):
    root, _ = uci_har
    (root / SIGNAL).write_text("no numbers")
    assert list(UCIHARReader().read(root, {"acc": ["total_acc_z", "body_acc_x"]}).channels) == [
        "body_acc_x",
        "total_acc_z",
    ]


def test_class_names_come_from_the_folder(uci_har):
    root, _ = uci_har
    (root / "activity_labels.txt").write_text("1 a\n2 b\n3 c\n4 d\n5 e\n6 f g\n\n")
    assert UCIHARReader().header(root).classes == ("a", "b", "c", "d", "e", "f g")
    (root / "activity_labels.txt").write_text("1 a\n3 c\n")
    with pytest.raises(DataError, match=r"activity_labels.txt: expected lines of a number, .* but got '3 c'"):
        UCIHARReader().header(root)


def test_a_missing_value_is_nan(uci_har):
    root, _ = uci_har
    edit(root / SIGNAL, 3, lambda line: " ".join(["nan", *line.split()[1:]]))
    values = UCIHARReader().read(root).channels["body_acc_y"].values
    assert np.argwhere(np.isnan(values)).tolist() == [[2, 0]]


@pytest.mark.parametrize(
    ("file", "line", "text", "message"),
    [
        (
            SIGNAL,
            5,
            lambda row: row[:-20],
            r"body_acc_y_train.txt, line 5: expected windows of equal length \(16 samples",
        ),
        (SIGNAL, 4, lambda row: " ".join(["1,5", *row.split()[1:]]), "line 4: expected numbers, but got '1,5'"),
        (SIGNAL, 4, lambda _: "", r"body_acc_y_train.txt: expected 48 windows, .* but got 47"),
        ("train/y_train.txt", 2, lambda _: "7", r"y_train.txt: expected whole numbers from 1 to 6, but number 2 is 7"),
        ("train/y_train.txt", 2, lambda _: "0", "from 1 to 6, but number 2 is 0"),
        ("train/y_train.txt", 2, lambda _: "1.5", r"but number 2 is 1\.5"),
        ("train/y_train.txt", 2, lambda _: "nan", "but number 2 is nan"),
        ("train/y_train.txt", 2, lambda _: "SITTING", "y_train.txt, line 2: expected numbers, but got 'SITTING'"),
        ("train/y_train.txt", 2, lambda _: "", r"y_train.txt has 47 lines, but subject_train.txt has 48"),
        ("test/subject_test.txt", 1, lambda _: "-1", "expected whole numbers from 1, but number 1 is -1"),
    ],
)
def test_broken_files_are_named_with_their_line(uci_har, file, line, text, message):
    root, _ = uci_har
    edit(root / file, line, text)
    with pytest.raises(DataError, match=message):
        UCIHARReader().read(root)


def test_two_numbers_a_line_are_no_labels(uci_har):
    root, _ = uci_har
    (root / "test" / "y_test.txt").write_text("1 2\n" * 24)
    with pytest.raises(DataError, match=r"y_test.txt: expected one number per line, but got 2"):
        UCIHARReader().read(root)


def test_test_windows_are_as_long_as_training_windows(uci_har):
    root, _ = uci_har
    path = root / "test" / "Inertial Signals" / "body_acc_x_test.txt"
    path.write_text("1 2 3\n" * 24)
    with pytest.raises(
        DataError, match=r"body_acc_x_test.txt: expected windows of 16 samples, as in training, but got 3"
    ):
        UCIHARReader().read(root)


def test_missing_and_empty_files_are_named(uci_har):
    root, _ = uci_har
    (root / SIGNAL).write_text("\n")
    with pytest.raises(DataError, match=r"body_acc_y_train.txt: .* the file is empty"):
        UCIHARReader().header(root)
    (root / SIGNAL).unlink()
    with pytest.raises(
        DataError, match=r"expected the nine signal files of UCI HAR, but these are missing: .*body_acc_y"
    ):
        UCIHARReader().header(root)
    (root / "train" / "y_train.txt").unlink()
    with pytest.raises(DataError, match=r"y_train.txt: expected a text file of numbers, but it cannot be read"):
        UCIHARReader().read(root)
