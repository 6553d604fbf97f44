import csv

import numpy as np
import pytest

from fusionlit.data.signals.readers.csv import read_csv
from fusionlit.data.signals.windowing.config import Columns, Windowing
from fusionlit.errors import ConfigError, DataError

SECOND = Windowing(1, "seconds")


def write(path, header, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


@pytest.fixture
def two_sensors(tmp_path):
    """Accelerometer at 50 Hz and gyroscope at 20 Hz, as blocks of rows of one file; each value is its own time."""
    acc = [[f"{t:.3f}", f"{t:.3f}", "", "walk"] for t in np.arange(500) / 50]
    gyro = [[f"{t:.3f}", "", f"{t:.3f}", "walk"] for t in np.arange(200) / 20]
    return write(tmp_path / "a.csv", ["time", "acc [g]", "gyro [rad/s]", "label"], acc + gyro)


def test_sensors_of_different_rates_cover_the_same_seconds(two_sensors):
    windows = read_csv(two_sensors, Windowing(2.56, "seconds", hop=1.28))
    starts = 1.28 * np.arange(len(windows))[:, None]
    acc, gyro = windows.channels["acc"], windows.channels["gyro"]
    assert (acc.rate, acc.unit, gyro.rate, gyro.unit) == (50, "g", 20, "rad/s")
    np.testing.assert_allclose(acc.values, starts + np.arange(128) / 50, atol=1e-5)
    np.testing.assert_allclose(gyro.values, starts + np.arange(51) / 20, atol=1e-5)
    assert acc.values.dtype == np.float32


def test_labels_follow_the_time_whatever_the_order_of_rows(tmp_path):
    acc = [[k / 50, 0, "", "sit" if k < 250 else "walk"] for k in range(500)]
    gyro = [[k / 20, "", 0, "sit" if k < 100 else "walk"] for k in range(200)]
    path = write(tmp_path / "a.csv", ["time", "acc", "gyro", "label"], acc + gyro)
    assert read_csv(path, SECOND).target.tolist() == [0] * 5 + [1] * 5


def test_a_window_in_samples_counts_those_of_the_fastest_channel(two_sensors):
    windows = read_csv(two_sensors, Windowing(100, "samples", hop=50))
    assert windows.channels["acc"].values.shape == (9, 100)
    assert windows.channels["gyro"].values.shape == (9, 40)
    assert windows.overlapping
    assert not read_csv(two_sensors, Windowing(100, "samples")).overlapping


def test_rates_are_given_by_channel_or_modality(two_sensors):
    windowing = Windowing(1, "seconds", rates={"inertial": 25, "gyro": 10})
    windows = read_csv(two_sensors, windowing, {"inertial": ["acc", "gyro"]})
    starts = np.arange(len(windows))[:, None]
    np.testing.assert_allclose(windows.channels["acc"].values, starts + np.arange(25) / 25, atol=1e-5)
    np.testing.assert_allclose(windows.channels["gyro"].values, starts + np.arange(10) / 10, atol=1e-5)


def test_milliseconds_from_any_origin(tmp_path):
    rows = [[1_763_762_400_000 + 20 * k, k, "sit"] for k in range(100)]
    path = write(tmp_path / "a.csv", ["time (ms)", "x", "label"], rows)
    windows = read_csv(path, Windowing(1, "seconds", time_unit="ms"))
    assert windows.channels["x"].rate == 50
    np.testing.assert_array_equal(windows.channels["x"].values, np.arange(100.0).reshape(2, 50))


def test_recordings_of_one_file_are_told_apart_by_a_column(tmp_path):
    rows = [[f"{k % 50 / 10:.1f}", k, "b", f"run{k // 50}"] for k in range(100)]
    path = write(tmp_path / "a.csv", ["time", "x", "label", "recording"], rows)
    windows = read_csv(path, SECOND)
    np.testing.assert_array_equal(windows.channels["x"].values, np.arange(100.0).reshape(10, 10))
    assert windows.group.tolist() == ["run0"] * 5 + ["run1"] * 5


def test_interleaved_recordings(tmp_path):
    rows = [[f"{k / 10:.1f}", 100 * r + k, "a", r] for k in range(50) for r in (2, 1)]
    path = write(tmp_path / "a.csv", ["time", "x", "label", "recording"], rows)
    windows = read_csv(path, SECOND)
    assert windows.group.tolist() == ["2"] * 5 + ["1"] * 5
    np.testing.assert_array_equal(windows.channels["x"].values[:5], 200 + np.arange(50.0).reshape(5, 10))


def test_a_folder_holds_a_recording_per_file(tmp_path):
    for name, subject, split in (("b", "anna", "train"), ("a", "ben", "test"), ("c", "anna", "train")):
        rows = [[k / 10, k, name, subject, split] for k in range(20)]
        write(tmp_path / f"{name}.csv", ["t", "x", "activity", "who", "split"], rows)
    (tmp_path / "readme.txt").write_text("not a recording")
    columns = Columns(time="t", label="activity", group="who")
    windows = read_csv(tmp_path, Windowing(1, "seconds", columns=columns))
    assert windows.classes == ("a", "b", "c")
    assert windows.target.tolist() == [0, 0, 1, 1, 2, 2]
    assert windows.group.tolist() == ["ben", "ben", "anna", "anna", "anna", "anna"]
    assert windows.official.tolist() == ["test", "test", "train", "train", "train", "train"]


def test_recordings_of_several_files_do_not_share_their_names(tmp_path):
    for name in "ab":
        rows = [[k % 20 / 10, k, "x", k // 20] for k in range(40)]
        write(tmp_path / f"{name}.csv", ["time", "x", "label", "recording"], rows)
    windows = read_csv(tmp_path, Windowing(2, "seconds"))
    assert windows.group.tolist() == ["a/0", "a/1", "b/0", "b/1"]
    assert windows.official is None


def test_only_the_channels_of_the_modalities_are_read(tmp_path):
    rows = [[k / 10, k, -k, "a", "some comment"] for k in range(20)]
    path = write(tmp_path / "a.csv", ["time", "x", "y", "label", "comment"], rows)
    assert list(read_csv(path, SECOND, {"m": ["y"], "n": ["y", "x"]}).channels) == ["y", "x"]


HEADER = ["time", "x", "label", "recording"]
ROWS = [[k / 10, k, "a", "r"] for k in range(20)]


def changed(k, place, cell):
    rows = [list(row) for row in ROWS]
    rows[k][place] = cell
    return rows


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        (
            ["t", *HEADER[1:]],
            ROWS,
            ": expected a time column 'time', but the columns are ['t', 'x', 'label', 'recording']. Set `time`"
            " in `columns` to its name.",
        ),
        (
            ["time", "label", "group", "recording"],
            ROWS,
            ": expected at least one channel, but the only columns are ['time', 'label', 'group', 'recording'].",
        ),
        (
            HEADER,
            changed(4, 0, ""),
            ", line 6, column 'time': expected a time in every row, but the cell is empty. Remove the row.",
        ),
        (
            HEADER,
            changed(4, 3, ""),
            ", line 6, column 'recording': expected a recording in every row, but the cell is empty. Fill it in.",
        ),
        (
            HEADER,
            changed(4, 0, 0.3),
            ", line 6: expected increasing time stamps of channel 'x', but this one is not later than that of line 5."
            " Sort the rows and remove duplicates; if another recording starts here, add a recording"
            " column.",
        ),
        (
            HEADER,
            changed(4, 0, 1.75),
            ", line 7: expected increasing time stamps of channel 'x', but this one is not later than that of line 6."
            " Sort the rows and remove duplicates; if another recording starts here, add a recording"
            " column.",
        ),
        (
            ["time", "x", "label", "group"],
            changed(4, 3, "s"),
            ", line 6, column 'group': expected the same value in a whole recording, but got 's' after 'r'. Fill"
            " it in, or add a recording column to distinguish recordings.",
        ),
        (
            ["time", "x", "label", "group"],
            [[*row[:3], ""] for row in ROWS],
            ", line 2, column 'group': expected the same value in a whole recording, but got ''. Fill it in,"
            " or add a recording column to distinguish recordings.",
        ),
        (
            ["time", "x", "label", "split"],
            ROWS,
            ", line 2, column 'split': expected one of train, val, test, but got 'r'.",
        ),
    ],
)
def test_refuses_a_file(tmp_path, header, rows, message):
    path = write(tmp_path / "a.csv", header, rows)
    with pytest.raises(DataError) as error:
        read_csv(path, SECOND)
    assert str(error.value) == f"{path}{message}"


def test_refuses_a_role_that_is_named_and_not_there(tmp_path):
    path = write(tmp_path / "a.csv", HEADER, ROWS)
    with pytest.raises(DataError) as error:
        read_csv(path, Windowing(1, "seconds", columns=Columns(group="subject")))
    assert str(error.value) == (
        f"{path}: expected a group column 'subject', but the columns are ['time', 'x', 'label', 'recording']. Set"
        " `group` in `columns` to its name."
    )


def test_refuses_a_channel_that_is_not_there(tmp_path):
    path = write(tmp_path / "a.csv", HEADER, ROWS)
    with pytest.raises(DataError) as error:
        read_csv(path, SECOND, {"m": ["x", "y", "label"]})
    assert str(error.value) == f"{path}: expected `modalities` to name channels, ['x'], but got ['y', 'label']."


def test_refuses_files_with_other_columns_or_units(tmp_path):
    write(tmp_path / "a.csv", ["time", "x [g]", "label", "recording"], ROWS)
    path = write(tmp_path / "b.csv", ["time", "z", "label", "recording"], ROWS)
    with pytest.raises(DataError) as error:
        read_csv(tmp_path, SECOND)
    assert str(error.value) == (
        f"{path}: expected the columns of a.csv, but ['x'] are missing and ['z'] are additional. Name only channels"
        " of all files in `modalities`, or move the file away."
    )
    write(path, ["time", "x [m/s^2]", "label", "recording"], ROWS)
    with pytest.raises(DataError) as error:
        read_csv(tmp_path, SECOND)
    assert str(error.value) == (
        f"{path}: expected channel 'x' in 'g' as in a.csv, but its header says 'm/s^2'. Convert the channel."
    )


def test_refuses_another_time_unit_than_the_headers(tmp_path):
    path = write(tmp_path / "a.csv", ["time [ms]", "x", "label", "recording"], ROWS)
    with pytest.raises(ConfigError) as error:
        read_csv(path, SECOND)
    assert str(error.value) == (
        f"{path}: the unit of the time in the header is 'ms', but `time_unit` of Windowing is 's'. Correct one of them."
    )


def test_refuses_a_root_without_files(tmp_path):
    with pytest.raises(DataError) as error:
        read_csv(tmp_path, SECOND)
    assert str(error.value) == (
        f"{tmp_path}: expected a CSV file, or a folder of CSV files, but it contains none. Correct `root`."
    )
    with pytest.raises(DataError, match="but it does not exist"):
        read_csv(tmp_path / "nowhere", SECOND)
