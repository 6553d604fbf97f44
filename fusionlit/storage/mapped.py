"""An array in a file, mapped into memory where it lies."""

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
"""Whether the system can be told which rows are wanted next. It reads far around each of them otherwise (megabytes, by
default on some machines), and one after the other: cold, that was 20 to 100 times slower."""

READ_HEADER = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


class MappedArray:
    """Rows of an array `(n, *shape)` in a file, of which only those that are asked for are read.

    Nothing of it is held in memory of the process's own, however long it is: the system keeps what it has read, for all
    processes at once, and gives it up when memory is short. Pickled it is its place in the file: every process, forked
    or spawned, maps the file itself when it first gathers. The file must stay as it was when this was made.

    Args:
        path: The file.
        shape: Of the whole array.
        dtype: As stored; rows come in the machine's byte order.
        offset: Where the values begin in the file (bytes).

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
            raise DataError(f"{path}: expected at least {needed} bytes, but got {size}. It is cut off: copy it again.")
        self._file: BinaryIO | None = None
        self._map: mmap.mmap | None = None

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: NDArray[np.int64] | slice) -> NDArray[Any]:
        """Rows by their numbers, copied; a slice only looks at them.

        Raises:
            DataError: If the file is no longer the one that was opened.
        """
        if self._file is None:
            self._file = open_binary(self.path)
            weakref.finalize(self, self._file.close)
        if stamp(self._file) != self.stamp:
            raise DataError(
                f"{self.path}: expected it to stay as it was, but it was changed while in use. Start again."
            )
        if self._map is None:
            self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
            if ADVISED:
                self._map.madvise(mmap.MADV_RANDOM)
        if ADVISED:
            self._announce(self._map, rows)
        values: NDArray[Any] = np.ndarray(self.shape, self.dtype, self._map, self.offset)
        return values[rows].astype(self.dtype.newbyteorder("="), copy=False)

    def _announce(self, whole: mmap.mmap, rows: NDArray[np.int64] | slice) -> None:
        """Let the system read all wanted rows at once, and nothing else."""
        first, last = np.array([rows.indices(len(self))[:2]]).T if isinstance(rows, slice) else (rows, rows + 1)
        pages = (self.offset + first * self._row) // mmap.PAGESIZE * mmap.PAGESIZE
        lengths = self.offset + last * self._row - pages
        for page, length in zip(pages.tolist(), lengths.tolist(), strict=True):
            whole.madvise(mmap.MADV_WILLNEED, page, length)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None, "_map": None}


def map_npy(path: Path, start: int = 0) -> MappedArray:
    """The array of an NPY file, or of what lies `start` bytes deep in an archive, where it is stored as it is.

    Raises:
        DataError: If the file is no NPY, is cut off, or its array holds Python objects or is stored by columns.
    """
    with open_binary(path) as file:
        file.seek(start)
        try:
            shape, by_columns, dtype = READ_HEADER[npy.read_magic(file)](file)
        except Exception as error:  # a damaged header may raise nearly anything
            raise DataError(f"{path}: expected a plain NPY array, but it cannot be read ({error}).") from error
        if dtype.hasobject or by_columns or not shape:
            raise DataError(f"{path}: expected plain values stored by rows, but got {dtype} {shape}, {by_columns=}.")
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
    """Size and time of the last change: what tells that a file is another, without reading it."""
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns
