import pytest
import torch

from fusionlit.data.replicator.positions import read_names, read_positions
from fusionlit.errors import DataError

NAMES = [f"{axis}{i}" for i in range(3) for axis in "xyz"]
HEADER = ",".join(NAMES)
ROW = "1,2,3,-1,-2,-3,0.5,1e-1,-0.25"


@pytest.fixture
def write(tmp_path):
    def write(*lines, header=HEADER):
        path = tmp_path / "positions.csv"
        path.write_text("\n".join([header, *lines]) + "\n")
        return path

    return write


def test_names_and_values(write):
    path = write(ROW, ROW.replace("1,2", "4,5"), "")
    assert read_names(path) == tuple(NAMES)
    values, bad = read_positions(path, 2)
    assert not bad
    assert values.dtype == torch.float32
    assert values.tolist()[1] == pytest.approx([4, 5, 3, -1, -2, -3, 0.5, 0.1, -0.25])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"positions\.csv: missing"):
        read_names(tmp_path / "positions.csv")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("x,y,z", r"line 1: expected a header of 9 columns \(x, y, z of three objects\), but got 3"),
        ("," + ",".join(NAMES), "line 1: expected a header of 9 columns .* but got 10"),
        (ROW, "line 1: expected a header with column names, but got numbers"),
        ("", "expected a header of 9 columns"),
    ],
)
def test_a_wrong_header_is_refused(write, header, message):
    with pytest.raises(DataError, match=rf"positions\.csv, {message}" if header else message):
        read_names(write(header=header))


@pytest.mark.parametrize("rows", [1, 3])
def test_another_number_of_rows_than_frames_is_refused_since_the_pairing_is_lost(write, rows):
    with pytest.raises(DataError, match=rf"expected 2 rows below the header.* but got {rows}, which cannot be matched"):
        read_positions(write(*[ROW] * rows), 2)


@pytest.mark.parametrize("row", [*(ROW.replace("2", x) for x in ("two", "nan", "-inf")), ROW + ",7", "1"])
def test_a_row_that_is_not_nine_finite_numbers_is_told_by_its_line(write, row):
    values, bad = read_positions(write(ROW, row, ROW), 3)
    assert list(bad) == [1]
    assert "positions.csv, line 3: expected 9 finite numbers, but got" in bad[1]
    assert repr(row) in bad[1]
    assert values[[0, 2]].isfinite().all()


def test_a_file_that_is_no_text_is_refused(write):
    path = write(ROW)
    path.write_bytes(b"\xff\xfe\x00binary")
    with pytest.raises(DataError, match=r"positions\.csv: expected a CSV file in UTF-8"):
        read_names(path)
