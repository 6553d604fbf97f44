import pickle

import numpy as np
import pytest

from fusionlit.errors import DataError
from fusionlit.storage.mapped import MappedArray, map_npy
from tests.processes import run

VALUES = np.random.default_rng(0).normal(size=(40, 3, 700))
ROWS = np.array([7, 0, 39, 7, 12])


@pytest.fixture
def path(tmp_path):
    np.save(tmp_path / "x.npy", VALUES)
    return tmp_path / "x.npy"


@pytest.mark.parametrize("dtype", ["u1", "<f2", "<f4", ">f4", "<f8", ">i2", "?"])
@pytest.mark.parametrize("shape", [(40, 1), (40, 3, 5), (40, 4, 33, 31)])
def test_rows_are_those_that_numpy_reads(tmp_path, dtype, shape):
    values = np.random.default_rng(1).integers(0, 2, shape).astype(dtype)
    np.save(tmp_path / "x.npy", values)
    array = map_npy(tmp_path / "x.npy")
    assert (len(array), array.shape, array.dtype) == (40, shape, values.dtype)
    for rows in (ROWS, slice(10, 30), slice(30, 99)):
        found = array[rows]
        assert found.dtype.isnative
        np.testing.assert_array_equal(found, values[rows])


def test_gathered_rows_are_a_copy_that_may_be_written(path):
    array = map_npy(path)
    array[ROWS][:] = 0
    np.testing.assert_array_equal(array[ROWS], VALUES[ROWS])


def test_an_array_deep_in_a_file_need_not_be_aligned(path, tmp_path):
    (tmp_path / "deep").write_bytes(b"abc" + path.read_bytes())
    np.testing.assert_array_equal(map_npy(tmp_path / "deep", 3)[ROWS], VALUES[ROWS])


def compare_rows(array):
    np.testing.assert_array_equal(array[ROWS], VALUES[ROWS])


def test_another_process_gets_the_place_and_not_the_data(path):
    array = map_npy(path)
    array[ROWS]  # it is open here
    assert len(pickle.dumps(array)) < 1000
    run(compare_rows, array)


@pytest.mark.parametrize("opened", [True, False])
def test_a_file_that_changes_while_in_use_is_noticed(path, opened):
    array = map_npy(path)
    if opened:
        array[ROWS]
    with path.open("r+b") as file:
        file.truncate(300)
    with pytest.raises(DataError, match=r"x\.npy: expected an unchanged file, but it was changed while in use"):
        array[ROWS]


def test_a_file_that_is_replaced_stays_as_it_was_for_whoever_has_it_open(path, tmp_path):
    opened, later = map_npy(path), map_npy(path)
    opened[ROWS]
    np.save(tmp_path / "new.npy", -VALUES)
    (tmp_path / "new.npy").replace(path)
    np.testing.assert_array_equal(opened[ROWS], VALUES[ROWS])
    with pytest.raises(DataError, match="changed while in use"):
        later[ROWS]


def test_what_cannot_be_mapped_is_refused(path, tmp_path):
    cut = tmp_path / "cut.npy"
    cut.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"cut\.npy: expected at least 672128 bytes, but got 672127"):
        map_npy(cut)
    (tmp_path / "text.npy").write_text("no array")
    with pytest.raises(DataError, match=r"text\.npy: expected a plain NPY array"):
        map_npy(tmp_path / "text.npy")
    np.save(tmp_path / "columns.npy", np.asfortranarray(VALUES))
    with pytest.raises(DataError, match="expected plain values in C order"):
        map_npy(tmp_path / "columns.npy")
    with pytest.raises(DataError, match=r"gone\.npy: .* cannot be opened"):
        MappedArray(tmp_path / "gone.npy", (1, 1), np.dtype("u1"), 0)
