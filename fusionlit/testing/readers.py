"""The contract of a reader of signals."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from fusionlit.data import SignalDataModule
from fusionlit.data.signals import SignalReader, Windows
from fusionlit.errors import ConfigError, DataError
from fusionlit.testing.laws import uphold
from fusionlit.types import SPLITS

UNKNOWN = "no such channel"


def check_reader(reader: SignalReader, root: Path) -> None:
    """Check the laws of a reader of signals; nothing is written beside the files, of which copies are made.

    Args:
        reader: The reader.
        root: A small data set of its format, in a folder without anything else; its windows have a value for every
            channel and sample.

    Raises:
        BrokenLawError: If a law is broken; the message says which, what happened, and what to do.
    """
    uphold(ReaderCase(reader, Path(root)), LAWS)


@dataclass(frozen=True)
class ReaderCase:
    """A reader, and a data set of its format."""

    reader: SignalReader
    root: Path

    def __str__(self) -> str:
        return f"{type(self.reader).__name__} of {self.root}"

    def read(self) -> Windows:
        """All windows."""
        return self.reader.read(self.root)

    @contextmanager
    def copy(self) -> Iterator[Path]:
        """The root of a copy, with all that lies beside it if it is a file."""
        folder = self.root if self.root.is_dir() else self.root.parent
        with TemporaryDirectory() as temporary:
            copied = Path(shutil.copytree(folder, Path(temporary) / folder.name))
            yield copied / self.root.relative_to(folder)


def it_is_a_reader(case: ReaderCase) -> str | None:
    """A reader is a subclass of `fusionlit.data.signals.SignalReader`, and `read` gives `Windows`."""
    if not isinstance(case.reader, SignalReader):
        return f"it is a {type(case.reader).__name__}."
    windows = case.read()
    return None if isinstance(windows, Windows) else f"`read` gave a {type(windows).__name__}."


def windows_are_whole(case: ReaderCase) -> str | None:
    """Every channel has float32 values `(n, time)`, finite or NaN where one is missing, for each of `n` windows."""
    windows = case.read()
    if not len(windows) or not windows.channels:
        return f"there are {len(windows)} windows of {list(windows.channels)}."
    for name, channel in windows.channels.items():
        values = channel.values
        if values.dtype != np.float32 or values.ndim != 2 or len(values) != len(windows):
            return f"{name!r} is {values.dtype} {values.shape}, and there are {len(windows)} labels."
        if np.isinf(values).any():
            return f"{name!r} has infinite values. Make NaN of what is missing."
    return None


def labels_name_classes(case: ReaderCase) -> str | None:
    """Labels `(n,)` are int64 from 0, one for each of `classes`, whose names differ."""
    windows = case.read()
    target, classes = windows.target, windows.classes
    if target.dtype != np.int64 or target.ndim != 1:
        return f"they are {target.dtype} {target.shape}."
    if len(set(classes)) < len(classes) or not all(isinstance(name, str) for name in classes):
        return f"the names are {classes}."
    wrong = sorted(set(target.tolist()) - set(range(len(classes))))
    return f"there are labels {wrong} of {len(classes)} classes." if wrong else None


def every_window_has_a_group(case: ReaderCase) -> str | None:
    """`group` has a text for every window, and `official`, where it is not None, a split."""
    windows = case.read()
    for name, texts in (("group", windows.group), ("official", windows.official)):
        if texts is not None and (texts.shape != (len(windows),) or texts.dtype.kind != "U"):
            return f"`{name}` is {texts.dtype} {texts.shape} of {len(windows)} windows."
    if not all(windows.group.tolist()):
        return "a window has none. Where the source has no groups, give every window one of its own."
    strange = sorted(set(() if windows.official is None else windows.official.tolist()) - set(SPLITS))
    return f"`official` names {strange}, and the splits are {SPLITS}." if strange else None


def header_is_what_is_read(case: ReaderCase) -> str | None:
    """`header` is None, or has the channels, in order, the grids and the classes of the windows."""
    header, windows = case.reader.header(case.root), case.read()
    if header is None:
        return None
    for name, promised, found in (
        ("channels", list(header.channels.items()), list(windows.header.channels.items())),
        ("classes", header.classes, windows.classes),
    ):
        if promised != found:
            return f"it has the {name} {promised}, and the windows {found}."
    return None


def reading_again_gives_the_same(case: ReaderCase) -> str | None:
    """Every `read` gives the same windows in the same order."""
    part = _differing(case.read(), case.read())
    return f"`{part}` changed. Sort what the file system lists, and draw nothing." if part else None


def chosen_channels_are_read(case: ReaderCase) -> str | None:
    """Asked for one channel, `read` and `header` give that one, as they do among all; others may come too."""
    windows = case.read()
    for name, channel in windows.channels.items():
        asked = {"one": [name]}
        header, chosen = case.reader.header(case.root, asked), case.reader.read(case.root, asked)
        if name not in chosen.channels or (header is not None and name not in header.channels):
            return f"{name!r} was not among them."
        if not np.array_equal(chosen.channels[name].values, channel.values, equal_nan=True):
            return f"{name!r} has other values."
    return None


def unknown_channels_are_refused(case: ReaderCase) -> str | None:
    """A channel that there is not is refused by a DataError or a ConfigError, by the reader or the data module."""
    with case.copy() as root:
        try:
            SignalDataModule(root, {"one": [UNKNOWN]}, reader=case.reader)
        except (DataError, ConfigError) as error:
            return None if UNKNOWN in str(error) else f"the message does not name it: {error}"
    return "it was taken."


def what_is_not_there_is_refused(case: ReaderCase) -> str | None:
    """A root that does not exist, and one without its files, are refused by a DataError that names the path."""
    with TemporaryDirectory() as folder:
        for root in (Path(folder), Path(folder) / "nowhere"):
            for method in (case.reader.header, case.reader.read):
                try:
                    given = method(root)
                except DataError as error:
                    if str(root) not in str(error):
                        return f"the message does not name it: {error}"
                else:
                    if given is not None:
                        return f"`{method.__name__}` gave a {type(given).__name__}."
    return None


def origin_names_every_file_that_matters(case: ReaderCase) -> str | None:
    """`origin` is None, or names all files without which `read` gives other windows, or a DataError."""
    if case.reader.origin(case.root) is None:
        return None
    whole = case.read()
    with case.copy() as root:
        origin = case.reader.origin(root)
        assert origin is not None
        named = {Path(path).resolve() for path in origin.files}
        if not any(path.is_file() for path in named):
            return f"none of its files is there: {sorted(map(str, named))}."
        folder = root if root.is_dir() else root.parent
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            if path.resolve() in named:
                continue
            hidden = path.rename(path.with_name(f"{path.name}~"))
            try:
                part = _differing(whole, case.reader.read(root))
            except DataError:
                part = "all"
            hidden.rename(path)
            if part:
                return f"without {path.relative_to(folder)}, which it does not name, other windows are read."
    return None


def origin_follows_its_files(case: ReaderCase) -> str | None:
    """Where `origin` is known, the data module packs the windows, and reads anew when one of the files has changed."""
    if case.reader.origin(case.root) is None:
        return None
    with case.copy() as root:
        last, origin = SignalDataModule(root, reader=case.reader).pack(), case.reader.origin(root)
        assert origin is not None
        if last is None:
            return "nothing was packed: `origin` must stand in the class that has `read`, or in one derived from it."
        for path in filter(Path.is_file, map(Path, origin.files)):
            os.utime(path, ns=(1, 1))
            pack = SignalDataModule(root, reader=case.reader).pack()
            if pack is None or pack.folder == last.folder:
                return f"{path.name} changed, and the pack did not."
            last = pack
    return None


def _differing(one: Windows, other: Windows) -> str | None:
    """The first part of the windows that differs, or None."""
    if one.header != other.header or list(one.channels) != list(other.channels):
        return "header"
    for name, channel in one.channels.items():
        if not np.array_equal(channel.values, other.channels[name].values, equal_nan=True):
            return name
    texts = [(w.group.tolist(), None if w.official is None else w.official.tolist()) for w in (one, other)]
    if texts[0] != texts[1]:
        return "group" if texts[0][0] != texts[1][0] else "official"
    return None if np.array_equal(one.target, other.target) else "target"


LAWS = [
    it_is_a_reader,
    windows_are_whole,
    labels_name_classes,
    every_window_has_a_group,
    header_is_what_is_read,
    reading_again_gives_the_same,
    chosen_channels_are_read,
    unknown_channels_are_refused,
    what_is_not_there_is_refused,
    origin_names_every_file_that_matters,
    origin_follows_its_files,
]
