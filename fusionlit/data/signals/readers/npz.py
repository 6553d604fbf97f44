"""Reader of NPZ archives of windows."""

from math import inf, prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fusionlit.data.labels import decode, encode
from fusionlit.data.signals.readers.base import ChannelGroups, Origin, SignalReader
from fusionlit.data.signals.windows import Channel, Grid, Header, Windows
from fusionlit.errors import DataError
from fusionlit.storage.npz import Array, NpzFile
from fusionlit.types import SPLITS

GROUPS = ("groups", "subject")
SUFFIXES = ("", *(f"_{split}" for split in SPLITS))


class NPZReader(SignalReader):
    """An archive with `X` `(n, channels, time)` and `y` `(n,)`; or with `X_train`, `y_train`, `X_test`, `y_test`.

    With the latter, `X_val` and `y_val` are optional, and these names define the official split. Further optional
    arrays: `groups` or `subject` `(n,)`, text or integers (with an official split `groups_train` and so on, for all of
    its parts; without groups every window is its own group), `channels` (names; default `channel_0`, ...), `classes`
    (names), `rate` (Hz, one number for all channels) and `units` (text, one per channel). Labels are text, or whole
    numbers that are mapped to 0, 1, ... in ascending order. NaN is a missing value.

    Sizes come from the headers of the file; only labels and names are read before the windows.
    """

    def header(self, root: Path, modalities: ChannelGroups | None = None) -> Header:
        """Channels from the shape of `X`, classes from the labels."""
        file = NpzFile(root)
        _, classes = _labels(file, _suffixes(file))
        return Header(_grids(file, _suffixes(file)), classes)

    def read(self, root: Path, modalities: ChannelGroups | None = None) -> Windows:
        """All arrays, training windows first."""
        file = NpzFile(root)
        suffixes = _suffixes(file)
        grids = _grids(file, suffixes)
        target, classes = _labels(file, suffixes)
        x = np.concatenate([file.read(f"X{suffix}").astype(np.float32, copy=False) for suffix in suffixes])
        channels = {name: Channel(x[:, i], grid.rate, grid.unit) for i, (name, grid) in enumerate(grids.items())}
        kind = _group_kind(file, suffixes)
        group = [name for suffix in suffixes for name in _groups(file, kind, suffix)]
        official = None
        if suffixes != [""]:
            official = np.repeat([suffix[1:] for suffix in suffixes], [_count(file, suffix) for suffix in suffixes])
        return Windows(channels, target, classes, np.array(group), official)

    def origin(self, root: Path) -> Origin:
        """The file."""
        return Origin([root])


def _suffixes(file: NpzFile) -> list[str]:
    """`[""]`, or `_train`, ... with an official split."""
    suffixes = [suffix for suffix in SUFFIXES if f"X{suffix}" in file.headers]
    if "" in suffixes and len(suffixes) > 1:
        raise DataError(
            f"{file.path}: expected either 'X', or 'X_train' and 'X_test', but got"
            f" {[f'X{suffix}' for suffix in suffixes]}. Leave out 'X' or the others."
        )
    if suffixes == [""]:
        return suffixes
    if "_train" not in suffixes:
        raise DataError(f"{file.path}: expected an array 'X', or 'X_train' and 'X_test', but got {list(file.headers)}.")
    return suffixes


def _count(file: NpzFile, suffix: str) -> int:
    return file.headers[f"X{suffix}"].shape[0]


def _grids(file: NpzFile, suffixes: list[str]) -> dict[str, Grid]:
    """Grid of each channel, after checking the shapes of all arrays of windows."""
    first = file.headers[f"X{suffixes[0]}"]
    for name in (f"X{suffix}" for suffix in suffixes):
        header = file.headers[name]
        if header.dtype.kind not in "fiu" or len(header.shape) != 3 or 0 in header.shape:
            raise DataError(
                f"{file.where(name)}: expected a non-empty array of numbers (n, channels, time), but got {header}."
            )
        if header.shape[1:] != first.shape[1:]:
            raise DataError(
                f"{file.where(name)}: expected (channels, time) {first.shape[1:]} as in X{suffixes[0]}, but got"
                f" {header.shape[1:]}."
            )
    _, count, length = first.shape
    names = _texts(file, "channels", [f"channel_{i}" for i in range(count)])
    units = _texts(file, "units", [""] * count)
    if len(set(names)) < count:
        raise DataError(f"{file.where('channels')}: expected unique names, but got {names}.")
    rate = _rate(file)
    return {name: Grid(length, rate, unit) for name, unit in zip(names, units, strict=True)}


def _rate(file: NpzFile) -> float | None:
    if "rate" not in file.headers:
        return None
    header = file.headers["rate"]
    number = header.dtype.kind in "fiu" and prod(header.shape) == 1
    rate = float(file.read("rate").item()) if number else 0.0
    if not 0 < rate < inf:
        raise DataError(
            f"{file.where('rate')}: expected one number above 0, the samples per second (Hz) of all channels, but got"
            f" {f'{rate:g}' if number else header}. Correct it, or leave it out."
        )
    return rate


def _texts(file: NpzFile, name: str, default: list[str]) -> list[str]:
    return file.read_names(name, len(default)) if name in file.headers else default


def _labels(file: NpzFile, suffixes: list[str]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    parts: list[Array] = []
    for suffix in suffixes:
        name, expected = f"y{suffix}", (_count(file, suffix),)
        if name not in file.headers:
            raise DataError(
                f"{file.path}: labels are missing: expected an array {name!r} {expected}, one label for each window of"
                f" X{suffix}, but got {list(file.headers)}."
            )
        if file.headers[name].shape != expected:
            raise DataError(
                f"{file.where(name)}: expected {expected}, one label for each window of X{suffix}, but got"
                f" {file.headers[name]}."
            )
        parts.append(decode(file.read(name), file.where(name)))
    return encode(np.concatenate(parts), f"{file.path}, labels", _class_names(file))


def _class_names(file: NpzFile) -> list[str]:
    if "classes" not in file.headers:
        return []
    header = file.headers["classes"]
    if len(header.shape) != 1 or header.dtype.kind not in "iuSU":
        raise DataError(f"{file.where('classes')}: expected text, one name per class, but got {header}. Save it again.")
    return [str(name) for name in decode(file.read("classes"), file.where("classes")).tolist()]


def _group_kind(file: NpzFile, suffixes: list[str]) -> str | None:
    """The one of `GROUPS` that the file has, for all windows; None if it has none."""
    found = [f"{kind}{suffix}" for kind in GROUPS for suffix in SUFFIXES if f"{kind}{suffix}" in file.headers]
    if not found:
        return None
    wanted = {kind: [f"{kind}{suffix}" for suffix in suffixes] for kind in GROUPS}
    kind = next((kind for kind in GROUPS if wanted[kind] == found), None)
    if kind is None:
        raise DataError(
            f"{file.path}: expected the groups of all windows in {wanted['groups']} or {wanted['subject']}, but got"
            f" {found}. Add missing arrays, or remove the others."
        )
    return kind


def _groups(file: NpzFile, kind: str | None, suffix: str) -> list[str]:
    count = _count(file, suffix)
    if kind is not None:
        return file.read_names(f"{kind}{suffix}", count)
    return [f"{suffix[1:]}/{i}" if suffix else str(i) for i in range(count)]
