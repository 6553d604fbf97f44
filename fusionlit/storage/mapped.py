"""Memory-mapped arrays."""

import mmap
import os
import weakref
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from fusionlit.errors import DataError

ADVISED = hasattr(mmap.mmap, "madvise")
"""Whether the system supports hints about which rows are needed next. Otherwise it reads far around each of them
(megabytes, by default on some machines), one after the other: uncached, this was 20 to 100 times slower."""

READ_HEADER = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


class MappedArray:
    """Rows of an array `(n, *shape)` in a file, of which only requested rows are read.

    It uses no private memory: the system caches pages for all processes and releases them when memory is short. It is
    pickled as a reference to the file: every process, forked or spawned, maps the file at its first access. The file
    must not change after this object was created.

    Args:
        path: The file.
        shape: Shape of the whole array.
        dtype: Type as stored; rows are returned in native byte order.
        offset: Start of the values in the file (bytes).

    Raises:
        DataError: If the file is missing or too short.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], offset: int) -> None:
        self.path = path
        self.shape = shape
        self.dtype = dtype
        self.offset = offset
        with open_binary(path) as file:
            self.stamp = stamp(file)
        self._row = int(np.prod(shape[1:])) * dtype.itemsize
        size, needed = self.stamp[0], offset + shape[0] * self._row
        if size < needed:
            raise DataError(
                f"{path}: expected at least {needed} bytes, but got {size}. It is truncated: copy it again."
            )
        self._file: BinaryIO | None = None
        self._map: mmap.mmap | None = None

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: NDArray[np.int64] | slice) -> NDArray[Any]:
        """Rows by index, as a copy; a slice gives a view if no byte order is converted.

        Raises:
            DataError: If the file has changed since it was opened.
        """
        if self._file is None:
            self._file = open_binary(self.path)
            weakref.finalize(self, self._file.close)
        if stamp(self._file) != self.stamp:
            raise DataError(f"{self.path}: expected an unchanged file, but it was changed while in use. Start again.")
        if self._map is None:
            self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
            if ADVISED:
                self._map.madvise(mmap.MADV_RANDOM)
        if ADVISED:
            self._announce(self._map, rows)
        values: NDArray[Any] = np.ndarray(self.shape, self.dtype, self._map, self.offset)
        return values[rows].astype(self.dtype.newbyteorder("="), copy=False)

    def _announce(self, whole: mmap.mmap, rows: NDArray[np.int64] | slice) -> None:
        """Tell the system which rows are needed, so that it reads them together, and nothing else."""
        first, last = np.array([rows.indices(len(self))[:2]]).T if isinstance(rows, slice) else (rows, rows + 1)
        pages = (self.offset + first * self._row) // mmap.PAGESIZE * mmap.PAGESIZE
        lengths = self.offset + last * self._row - pages
        for page, length in zip(pages.tolist(), lengths.tolist(), strict=True):
            whole.madvise(mmap.MADV_WILLNEED, page, length)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None, "_map": None}


def map_npy(path: Path, start: int = 0) -> MappedArray:
    """Map the array of an NPY file, or of an uncompressed one that starts at byte `start` of an archive.

    Raises:
        DataError: If it is not NPY or truncated, or its array holds Python objects or is in Fortran order.
    """
    with open_binary(path) as file:
        file.seek(start)
        try:
            shape, by_columns, dtype = READ_HEADER[npy.read_magic(file)](file)
        except Exception as error:  # a damaged header may raise almost anything
            raise DataError(f"{path}: expected a plain NPY array, but it cannot be read ({error}).") from error
        if dtype.hasobject or by_columns or not shape:
            raise DataError(f"{path}: expected plain values in C order, but got {dtype} {shape}, {by_columns=}.")
        return MappedArray(path, shape, dtype, file.tell())


def open_binary(path: Path) -> BinaryIO:
    """Open a file for reading.

    Raises:
        DataError: If it cannot be opened.
    """
    try:
        return path.open("rb")
    except OSError as error:
        raise DataError(f"{path}: expected a file of values, but it cannot be opened ({error.strerror}).") from error


def stamp(file: BinaryIO) -> tuple[int, int]:
    """Size and modification time, to detect changes of a file without reading it."""
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns
