"""Where packs lie: found and verified, or made, by one process at a time."""

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
"""All that lies in a folder of this name is ours to remove."""

UNFINISHED = "unfinished"
LOCK = "lock"


@dataclass(frozen=True)
class Pack:
    """A data set as a few long arrays.

    Args:
        folder: Where it lies.
        arrays: `(n, *shape)` by name, mapped from its files.
        bad: What is wrong with each row that could not be read, beginning with its file.
        notes: What else the source has to say.
    """

    folder: Path
    arrays: dict[str, MappedArray]
    bad: dict[int, str]
    notes: dict[str, Any] = field(default_factory=dict)


def open_or_pack(source: Source, beside: Path | None = None, contents: bool = True) -> Pack:
    """The pack of a data set as its files are now; what does not hold is packed again, with one line that says why.

    A pack is named by what it was made of (format, root, recipe; path, size and time of the last change of every file),
    and is renamed to that name once it is whole and on disk, so whatever bears the name was finished. An interrupted
    packing leaves a folder of another name, which the next removes. Packs of one data set by several recipes lie beside
    each other until its files change. Only the data set itself is the truth: without its files, its pack is not used.

    What is checked when it is opened: that every file is as it was (its size and time, not what is in it); that the
    manifest has its checksum, and the arrays their types, shapes and lengths; and with `contents` the CRC-32 of every
    block, which reads all of it once (10,000 frames of the course, 330 MB, in a fifth of a second from memory), and
    that the files of bad rows still cannot be read.

    Args:
        source: The data set.
        beside: Folder whose `.fusionlit` holds the pack; default: the data set's own, or that of its file. Several data
            sets may share one; packs of this one that are of other files are removed.
        contents: Whether to check the contents too; one process of a node is enough.

    Raises:
        DataError: If the folder cannot be written, its disk is full, or files change meanwhile.
    """
    own = source.root.parent if source.root.is_file() else source.root
    folder = (own if beside is None else beside) / FOLDER
    files = source.look()
    place = folder / _name(source, folder, files)
    try:
        return _open(place, source, contents)
    except DataError:  # found again below, unless another process is just making it good
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
    # Read, not mapped: where the disk fails, that is an error here, and kills the process there.
    size = step * array.dtype.itemsize * int(np.prod(array.shape[1:]))
    with open_binary(array.path) as file:
        file.seek(array.offset)
        for block, checksum in enumerate(progress(checksums, f"verifying {array.path.name}")):
            if zlib.crc32(file.read(size)) != checksum:
                last = min((block + 1) * step, len(array)) - 1
                raise DataError(f"{array.path} is damaged in rows {block * step} to {last}")


def _check_bad(source: Source, bad: dict[int, str]) -> None:
    # A permission that lacked, or a disk that was away, leaves size and time as they were.
    if not bad:
        return
    contents = source.contents()
    for row, reason in bad.items():
        try:
            contents.read(row)
        except DataError:
            continue
        raise DataError(f"what could not be read now can be ({reason})")


def _make(place: Path, source: Source, files: Fingerprint) -> None:
    """Write a pack under the lock: whole, or not at all."""
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
                f"{source.root}: files changed while they were packed. Start again when nothing writes there."
            )
        unfinished.rename(place)
        sync(folder)
    except OSError as error:
        raise DataError(
            f"{folder}: expected room for the packed data, {needed / 1e9:.3g} GB, but writing failed"
            f" ({error.strerror or error}). Free some, or set `pack` to a folder on another disk."
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    for other in _others(folder, place):
        if _why_outdated(other, source, files):
            shutil.rmtree(other, ignore_errors=True)
    seconds, rows = time.perf_counter() - begin, len(contents.rows)
    rank_zero_info(f"{source.root}: packed {rows} samples into {place} in {seconds:.1f} s ({rows / seconds:,.0f}/s).")


def _why_outdated(other: Path, source: Source, files: Fingerprint) -> str | None:
    """Why a pack must go: it cannot be used by anybody, or is of this data set as its files were before."""
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
    # The root too: in a shared folder, the files of two data sets may have all sizes and times in common.
    told = repr((VERSION, source.within(folder), source.recipe))
    return blake2b(told.encode() + files.astype("<u8").tobytes(), digest_size=8).hexdigest()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one process at a time pack; the lock of a killed process is free.

    Raises:
        DataError: If the folder cannot be written.
    """
    lock = FileLock(folder / LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            rank_zero_info(f"{folder}: waiting for another process, which is packing.")
            lock.acquire()
    except (OSError, NotImplementedError) as error:
        raise DataError(
            f"{folder}: expected a folder to write packed data to, but got {error!r}. Set `pack` to one that can be"
            " written."
        ) from error
    try:
        yield
    finally:
        lock.release()
