"""Finds and verifies packs, or creates them, by one process at a time."""

import shutil
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from lightning.pytorch.utilities import rank_zero_info

from fusionlit.console import progress
from fusionlit.errors import DataError
from fusionlit.storage.mapped import MappedArray, map_npy, open_binary
from fusionlit.storage.pack.manifest import VERSION, Manifest
from fusionlit.storage.pack.source import Fingerprint, Source
from fusionlit.storage.pack.writing import FILES, sync, write_pack

FOLDER = ".fusionlit"
"""Folder of packs; fusionlit may remove anything in it."""

UNFINISHED = "unfinished"
LOCK = "lock"


@dataclass(frozen=True)
class Pack:
    """A data set as a few long arrays.

    Args:
        folder: Folder of the pack.
        arrays: Memory-mapped arrays `(n, *shape)` by name.
        bad: Reason for each row that could not be read, starting with its file.
        notes: Additional information from the source.
    """

    folder: Path
    arrays: dict[str, MappedArray]
    bad: dict[int, str]
    notes: dict[str, Any] = field(default_factory=dict)


def open_or_pack(source: Source, beside: Path | None = None, contents: bool = True) -> Pack:
    """Open the pack of a data set, or create it if it is missing, outdated or damaged, and log the reason.

    The name of a pack is a hash of its origin (format, root, recipe; path, size and modification time of every file).
    It is given once the pack is complete and on disk, so a pack with this name is complete. An interrupted process
    leaves a folder of another name, which the next one removes. Packs of one data set with different recipes coexist
    until its files change. The data set is required: without its files, its pack is not used.

    Checks on opening: every file is unchanged (size and modification time, not content); the manifest matches its
    checksum, and the arrays their types, shapes and lengths. With `contents`, also the CRC-32 of every block, which
    reads the whole pack (10,000 frames of the course, 330 MB, take 0.2 s from memory), and that the files of bad rows
    still cannot be read.

    Args:
        source: The data set.
        beside: Folder whose `.fusionlit` contains the pack; default: the folder of the data set. Several data sets can
            share one; outdated packs of this data set are removed.
        contents: Whether to check the contents too; one process per node is enough.

    Raises:
        DataError: If the folder cannot be written, the disk is full, or files change while they are packed.
    """
    own = source.root.parent if source.root.is_file() else source.root
    folder = (own if beside is None else beside) / FOLDER
    files = source.look()
    place = folder / _name(source, folder, files)
    try:
        return _open(place, source, contents)
    except DataError:  # retried below, in case another process is creating it
        pass
    with _locked(folder):
        try:
            return _open(place, source, contents)
        except DataError as error:
            outdated = (_why_outdated(other, source, files) for other in _others(folder, folder / UNFINISHED))
            why = str(error) if place.exists() else next(filter(None, outdated), None)
        if why:
            rank_zero_info(f"{source.root}: packing it again, because {why}.")
        _make(place, source, files)
    return _open(place, source, contents=False)


def _open(place: Path, source: Source, contents: bool) -> Pack:
    manifest = Manifest.load(place)
    arrays = {name: map_npy(place / f"{name}.npy") for name in manifest.columns}
    for name, column in manifest.columns.items():
        if column != (arrays[name].dtype.str, arrays[name].shape):
            raise DataError(f"{place / name}.npy is damaged: it should be {column}")
    if contents:
        for name, array in arrays.items():
            _check_contents(array, manifest.checksums[name], manifest.step)
        _check_bad(source, manifest.bad)
    bad = {row: f"{source.root}/{reason}" for row, reason in manifest.bad.items()}
    return Pack(place, arrays, bad, manifest.notes)


def _check_contents(array: MappedArray, checksums: list[int], step: int) -> None:
    # Read, not mapped: a disk error raises here, but kills the process when mapped.
    size = step * array.dtype.itemsize * int(np.prod(array.shape[1:]))
    with open_binary(array.path) as file:
        file.seek(array.offset)
        for block, checksum in enumerate(progress(checksums, f"verifying {array.path.name}")):
            if zlib.crc32(file.read(size)) != checksum:
                last = min((block + 1) * step, len(array)) - 1
                raise DataError(f"{array.path} is damaged in rows {block * step} to {last}")


def _check_bad(source: Source, bad: dict[int, str]) -> None:
    # Missing permissions or an unmounted disk do not change size and time.
    if not bad:
        return
    contents = source.contents()
    for row, reason in bad.items():
        try:
            contents.read(row)
        except DataError:
            continue
        raise DataError(f"a file that could not be read can be read now ({reason})")


def _make(place: Path, source: Source, files: Fingerprint) -> None:
    """Write a pack atomically, under the lock."""
    folder, unfinished = place.parent, place.parent / UNFINISHED
    begin = time.perf_counter()
    contents = source.contents()
    needed = sum(np.dtype(dtype).itemsize * int(np.prod(shape)) for dtype, shape in contents.columns.values())
    try:
        for left in (unfinished, place):
            if left.exists():
                shutil.rmtree(left)
        if (free := shutil.disk_usage(folder).free) < needed:
            raise OSError(f"{free / 1e9:.3g} GB are free")
        unfinished.mkdir()
        write_pack(unfinished, source, contents, files)
        if not np.array_equal(source.look(), files):
            raise DataError(
                f"{source.root}: files changed while they were packed. Start again when no process writes there."
            )
        unfinished.rename(place)
        sync(folder)
    except OSError as error:
        raise DataError(
            f"{folder}: expected room for the packed data, {needed / 1e9:.3g} GB, but writing failed"
            f" ({error.strerror or error}). Free some space, or set `pack` to a folder on another disk."
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    for other in _others(folder, place):
        if _why_outdated(other, source, files):
            shutil.rmtree(other, ignore_errors=True)
    seconds, rows = time.perf_counter() - begin, len(contents.rows)
    rank_zero_info(f"{source.root}: packed {rows} samples into {place} in {seconds:.1f} s ({rows / seconds:,.0f}/s).")


def _why_outdated(other: Path, source: Source, files: Fingerprint) -> str | None:
    """Reason to remove a pack: it is unusable, or contains outdated files of this data set; None to keep it."""
    try:
        if Manifest.load(other).root != source.within(other.parent):
            return None
        before = np.load(other / FILES, allow_pickle=False)
    except (DataError, OSError, ValueError) as error:
        return f"{other} cannot be used: {error}"
    changed = max(len(np.setdiff1d(files, before)), len(np.setdiff1d(before, files)))
    return f"{changed} of its {len(files)} files changed" if changed else None


def _others(folder: Path, place: Path) -> list[Path]:
    return [other for other in sorted(folder.glob("*/")) if other != place]


def _name(source: Source, folder: Path, files: Fingerprint) -> str:
    # Includes the root: in a shared folder, two data sets may agree in all sizes and times.
    origin = repr((VERSION, source.within(folder), source.recipe))
    return blake2b(origin.encode() + files.astype("<u8").tobytes(), digest_size=8).hexdigest()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock for packing; the lock of a killed process is released.

    Raises:
        DataError: If the folder cannot be written.
    """
    lock = FileLock(folder / LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            rank_zero_info(f"{folder}: waiting for another process that is packing.")
            lock.acquire()
    except (OSError, NotImplementedError) as error:
        raise DataError(
            f"{folder}: expected a folder to write packed data to, but got {error!r}. Set `pack` to a writable folder."
        ) from error
    try:
        yield
    finally:
        lock.release()
