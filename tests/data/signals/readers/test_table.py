import csv

import numpy as np
import pytest

from fusionlit.data.signals.readers.table import read_header, read_table
from fusionlit.errors import DataError


@pytest.fixture
def write(tmp_path):
    def write(text, encoding="utf-8"):
        path = tmp_path / "a.csv"
        path.write_bytes(text.encode(encoding))
        return path

    return write


def test_reads_what_was_written_over_several_chunks(tmp_path):
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=(1500, 2))
    words = rng.choice(["sit", "walk, fast", "", 'a "b"'], 1500)
    there = rng.random(1500) < 0.7
    with (tmp_path / "a.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["x", "unused", "word", "y"])
        for k in range(1500):
            writer.writerow([float(numbers[k, 0]), "text", words[k], float(numbers[k, 1]) if there[k] else ""])
    table = read_table(tmp_path / "a.csv", ["y", "x"], ["word"])
    np.testing.assert_array_equal(table.numbers["x"], numbers[:, 0])
    np.testing.assert_array_equal(table.numbers["y"], np.where(there, numbers[:, 1], np.nan))
    np.testing.assert_array_equal(table.texts["word"], words)
    np.testing.assert_array_equal(table.lines, np.arange(2, 1502))


def test_blanks_empty_lines_byte_order_mark_and_nan(write):
    table = read_table(write("\ufeff\nx, y\r\n\r\n1 , nan\r\n 2, \r\n\r\n"), ["x", "y"], [])
    np.testing.assert_array_equal(table.numbers["x"], [1, 2])
    assert np.isnan(table.numbers["y"]).all()
    np.testing.assert_array_equal(table.lines, [4, 5])


def test_units_stand_in_the_header(write):
    path = write("Time (s),acc_x [m/s^2],f(2),tBodyAcc-mean(),gyro [rad/s]\n")
    assert read_header(path) == {"Time": "s", "acc_x": "m/s^2", "f(2)": "", "tBodyAcc-mean()": "", "gyro": "rad/s"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ": expected a header and rows, but the file is empty. Restore it or remove it."),
        (
            "x,y\n",
            ": expected rows below the header, but there are none. Restore the file or remove it.",
        ),
        (
            "1,2\n3,4\n",
            ", line 1: expected a header with column names, but got numbers. Add a first line of names.",
        ),
        (
            ",x,y\n0,1,2\n",
            ", line 1: expected a name for every column, but column 1 has none. Name it in the header, or write the"
            " file without this column (pandas: index=False).",
        ),
        (
            "x,y,x [g]\n0,1,2\n",
            ", line 1: expected unique column names, but ['x'] occur more than once.",
        ),
        (
            "x,y\n1,2\n3\n",
            ", line 3: expected 2 cells as in the header, but got 1. Complete or remove the line; leave cells without a"
            " value empty.",
        ),
        (
            "x,y\n1,2\n\n3,4,5\n",
            ", line 4: expected 2 cells as in the header, but got 3. Complete or remove the line; leave cells without a"
            " value empty.",
        ),
        (
            "x,y\n" + "1,2\n" * 1000 + "3,oops\n",
            ", line 1002, column 'y': expected a finite number, or an empty cell for a missing value, but got 'oops'."
            " Correct it; if the column is not a channel, give it a role in `columns`, or name the channels to read"
            " in `modalities`.",
        ),
        (
            "x,y\n1,2\ninf,2\n",
            ", line 3, column 'x': expected a finite number, or an empty cell for a missing value, but got 'inf'."
            " Correct it; if the column is not a channel, give it a role in `columns`, or name the channels to read"
            " in `modalities`.",
        ),
        (
            'x,y\n1,2\n3,"4\n5,6\n',
            ": expected a CSV file in UTF-8, but it cannot be read (unexpected end of data).",
        ),
    ],
)
def test_refuses(write, text, message):
    path = write(text)
    with pytest.raises(DataError) as error:
        read_table(path, ["x", "y"], [])
    assert str(error.value) == f"{path}{message}"


def test_refuses_other_encodings(write):
    path = write("x,y\n1,2\n3,4\n", encoding="utf-16")
    with pytest.raises(DataError, match="expected a CSV file in UTF-8, but it cannot be read"):
        read_table(path, ["x", "y"], [])
