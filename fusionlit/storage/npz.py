"""NPZ files: headers and arrays, without unpickling."""

import struct
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from tokenize import TokenError
from typing import Any, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from fusionlit.errors import ConfigError, DataError
from fusionlit.storage.mapped import READ_HEADER, MappedArray, map_npy, open_binary, stamp
from fusionlit.storage.rows import BLOCK

Array = NDArray[Any]

_DAMAGE = (
    *(OSError, ValueError, EOFError, KeyError, RuntimeError, NotImplementedError, SyntaxError),
    *(TokenError, zipfile.BadZipFile, zlib.error),
)
"""Exceptions of zipfile and numpy for files that are not NPZ, truncated, changed, locked or of another kind."""


_LENGTHS = 26
"""Offset, in the local header of an archive member, of the lengths of its name and extra field."""


class Header(NamedTuple):
    """Shape, type and order of an array, known before it is read."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    by_columns: bool = False

    def __str__(self) -> str:
        return f"{self.shape} {self.dtype}"


class NpzFile:
    """An NPZ file, of which only the headers are read at construction.

    `headers` contains shape and type of every array, in the order of the file.

    Args:
        path: The file.

    Raises:
        DataError: If the file is missing or not NPZ, or an array in it holds Python objects.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.headers = _read_headers(path)
        self._stamp = self._look()

    def where(self, name: str) -> str:
        """File and array, for messages."""
        return f"{self.path}, array {name!r}"

    def require(self, argument: str, names: Iterable[str]) -> None:
        """Check that the file contains the arrays `names`.

        Raises:
            ConfigError: If one is missing; the message lists the arrays in the file.
        """
        if missing := [name for name in names if name not in self.headers]:
            raise ConfigError(
                f"{self.path}: expected the arrays named in `{argument}`, but it has no {', '.join(missing)}. It"
                f" has: {', '.join(f'{name} {header}' for name, header in self.headers.items())}."
            )

    def read(self, name: str) -> Array:
        """Read one array, in native byte order.

        Raises:
            DataError: If it cannot be read, or the file has changed since its headers were read.
        """
        try:
            with np.load(self.path, allow_pickle=False) as archive:
                values: Array = archive[name]
        except _DAMAGE as error:
            raise self._damaged(name, error) from error
        self._check_unchanged(self._look())
        return values.astype(values.dtype.newbyteorder("="), copy=False)

    def map(self, name: str) -> Array | MappedArray:
        """Map one array, to gather rows from.

        Arrays that are compressed (`numpy.savez_compressed`) or in Fortran order are read into memory.

        Raises:
            DataError: If it cannot be read, its checksum is wrong, or the file has changed since its headers were read.
        """
        try:
            with zipfile.ZipFile(self.path) as archive:
                member = archive.getinfo(f"{name}.npy")
                if member.compress_type != zipfile.ZIP_STORED or self.headers[name].by_columns:
                    return self.read(name)
                with archive.open(member) as values:
                    while values.read(BLOCK):
                        pass  # zipfile verifies the checksum at the end
            with self.path.open("rb") as file:
                file.seek(member.header_offset + _LENGTHS)
                lengths = struct.unpack("<HH", file.read(4))
        except _DAMAGE as error:
            raise self._damaged(name, error) from error
        array = map_npy(self.path, member.header_offset + _LENGTHS + 4 + sum(lengths))
        self._check_unchanged(array.stamp)
        return array

    def read_names(self, name: str, samples: int) -> list[str]:
        """Read one name per sample, from text or integers.

        Raises:
            DataError: If the array has another type or length.
        """
        header = self.headers[name]
        if header.shape != (samples,) or header.dtype.kind not in "iuU":
            raise DataError(
                f"{self.where(name)}: expected text or integers {(samples,)}, one per sample, but got {header}."
                " Save it again with the others."
            )
        return [str(value) for value in self.read(name).tolist()]

    def _look(self) -> tuple[int, int]:
        with open_binary(self.path) as file:
            return stamp(file)

    def _check_unchanged(self, now: tuple[int, int]) -> None:
        # Targets are read long before the modalities, but both must come from the same file.
        if now != self._stamp:
            raise DataError(f"{self.path}: expected an unchanged file, but it was changed while in use. Start again.")

    def _damaged(self, name: str, error: Exception) -> DataError:
        return DataError(
            f"{self.where(name)}: expected a readable array, but got an error ({error}). Copy the file again."
        )


def _read_headers(path: Path) -> dict[str, Header]:
    if not path.is_file():
        raise DataError(
            f"{path}: expected an NPZ file, but there is none. Write one with `numpy.savez`, or correct the path."
        )
    headers = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                with archive.open(member) as file:
                    shape, by_columns, dtype = READ_HEADER[npy.read_magic(file)](file)
                headers[member.removesuffix(".npy")] = Header(shape, dtype, by_columns)
    except _DAMAGE as error:
        raise DataError(
            f"{path}: expected an NPZ file of plain arrays, but it cannot be read ({error}). Write it with"
            " `numpy.savez`, or copy it again."
        ) from error
    for name, header in headers.items():
        if header.dtype.hasobject:
            raise DataError(
                f"{path}, array {name!r}: expected numbers or text, but got Python objects {header.shape}, which are"
                " never unpickled. Save it with a plain type (`.astype(float)`, `.astype(str)`); bring arrays of"
                " different lengths to a common length."
            )
    return headers
