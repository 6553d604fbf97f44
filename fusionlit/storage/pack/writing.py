"""Writes a pack: files are read in parallel, block by block, and written in the order of the rows."""

import os
import zlib
from bisect import bisect_left
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from fusionlit.console import progress
from fusionlit.errors import DataError
from fusionlit.storage.pack.manifest import Manifest
from fusionlit.storage.pack.source import Contents, Fingerprint, Source
from fusionlit.storage.rows import BLOCK

FILES = "files.npy"
"""Fingerprint of the packed files, to count how many have changed."""


def write_pack(folder: Path, source: Source, contents: Contents, files: Fingerprint) -> None:
    """Write a pack to an empty folder, and flush it to disk.

    Args:
        folder: The folder.
        source: The data set.
        contents: Contents of the pack.
        files: Fingerprint of the files.

    Raises:
        OSError: If something cannot be written.
    """
    columns = dict(contents.columns)
    length = next(iter(columns.values())).shape[0]
    row_size = max(np.dtype(dtype).itemsize * int(np.prod(shape[1:])) for dtype, shape in columns.values())
    step = max(1, BLOCK // row_size)
    checksums: dict[str, list[int]] = {name: [] for name in columns}
    bad: dict[int, str] = {}

    def read(row: int) -> dict[str, NDArray[Any]] | str:
        try:
            return dict(contents.read(row))
        except DataError as error:
            return str(error).removeprefix(f"{source.root}/")

    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(os.cpu_count()))
        out: dict[str, BinaryIO] = {}
        for name, (dtype, shape) in columns.items():
            out[name] = stack.enter_context((folder / f"{name}.npy").open("wb"))
            npy.write_array_header_1_0(out[name], {"descr": dtype, "fortran_order": False, "shape": shape})
        for start in progress(range(0, length, step), f"packing {source.root.name}"):
            stop = min(start + step, length)
            rows = contents.rows[bisect_left(contents.rows, start) : bisect_left(contents.rows, stop)]
            block = {name: np.zeros((stop - start, *shape[1:]), dtype) for name, (dtype, shape) in columns.items()}
            for row, values in zip(rows, pool.map(read, rows), strict=True):
                if isinstance(values, str):
                    bad[row] = values
                    continue
                for name, value in values.items():
                    block[name][row - start] = value
            for name, filled in block.items():
                out[name].write(filled.data)
                checksums[name].append(zlib.crc32(filled.data))
        for file in out.values():
            file.flush()
            os.fsync(file.fileno())
    np.save(folder / FILES, files)
    Manifest(source.within(folder.parent), columns, checksums, step, bad, dict(contents.notes)).save(folder)
    for path in (folder / FILES, *folder.glob("*.json"), folder):
        sync(path)


def sync(path: Path) -> None:
    """Flush a file, or the entries of a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
