"""Sources of packs: their files, and how rows are built from them."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusionlit.storage.pack.manifest import Column

Fingerprint = NDArray[np.uint64]
"""One hash per file, sorted; it depends on path, size and modification time."""

Named = tuple[str, "Path | os.DirEntry[str]"]
"""A file, and its name relative to the data set, so that this can be moved."""


@dataclass(frozen=True)
class Contents:
    """Contents of a pack.

    Args:
        columns: Type and shape of each array, `(n, *shape)`, by name.
        rows: Indices of the rows to read, in ascending order; the others stay 0.
        read: Function that returns the values of a row by name; raises DataError if its files cannot be used.
        notes: Additional information, in JSON types.
    """

    columns: Mapping[str, Column]
    rows: Sequence[int]
    read: Callable[[int], Mapping[str, NDArray[Any]]]
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """A data set of files to pack.

    Args:
        root: Folder or file of the data set.
        recipe: Text of all settings that determine how rows are built; another recipe is another pack.
        look: Function that returns the current fingerprint of all files.
        contents: Function that returns the contents; called only for packing, since it may read all files.
    """

    root: Path
    recipe: str
    look: Callable[[], Fingerprint]
    contents: Callable[[], Contents]

    def within(self, folder: Path) -> str:
        """The root relative to a folder, so that both can be moved together."""
        return os.path.relpath(self.root.resolve(), folder.resolve())


def in_folders(root: Path, folders: Iterable[tuple[Path, str]]) -> Iterator[Named]:
    """Files in some folders of `root`; each folder comes with the suffix of the files to include."""
    for folder, ending in folders:
        within = folder.relative_to(root).as_posix()
        with os.scandir(folder) as entries:
            yield from ((f"{within}/{entry.name}", entry) for entry in entries if entry.name.endswith(ending))


def fingerprint(files: Iterable[Named]) -> Fingerprint:
    """Fingerprint of files, without reading them."""
    numbers = []
    for name, file in files:
        try:
            status = file.stat()
            entry = f"{name}\0{status.st_size}\0{status.st_mtime_ns}"
        except OSError as error:  # such as a broken link: a bad sample, as long as the error persists
            entry = f"{name}\0{error.errno}"
        numbers.append(blake2b(os.fsencode(entry), digest_size=8).digest())
    return np.sort(np.frombuffer(b"".join(numbers), np.dtype("<u8")).astype(np.uint64))
