"""What is packed: of which files, and how rows are made of them."""

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
"""One number a file, sorted; another path, size or time of the last change gives another number."""

Named = tuple[str, "Path | os.DirEntry[str]"]
"""A file, and how it is called seen from its data set, so that this may be moved."""


@dataclass(frozen=True)
class Contents:
    """What goes into a pack.

    Args:
        columns: Type and shape of each array, `(n, *shape)`, by name.
        rows: The rows that there are, in ascending order; the others stay 0.
        read: Gives the values of a row by name; raises DataError if its files cannot be used.
        notes: What else there is to keep, as JSON has it.
    """

    columns: Mapping[str, Column]
    rows: Sequence[int]
    read: Callable[[int], Mapping[str, NDArray[Any]]]
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """A data set of files, as packing sees it.

    Args:
        root: Its folder or file.
        recipe: Text of all that decides what is made of the files; another recipe is another pack.
        look: Gives the fingerprint of all files, as they are when it is called.
        contents: Gives what is made of them, of which only packing has need: it may read them all.
    """

    root: Path
    recipe: str
    look: Callable[[], Fingerprint]
    contents: Callable[[], Contents]

    def within(self, folder: Path) -> str:
        """Its root, seen from a folder, so that both may be moved together."""
        return os.path.relpath(self.root.resolve(), folder.resolve())


def in_folders(root: Path, folders: Iterable[tuple[Path, str]]) -> Iterator[Named]:
    """The files of some folders in `root`, each folder with the ending of the names of those that count."""
    for folder, ending in folders:
        within = folder.relative_to(root).as_posix()
        with os.scandir(folder) as entries:
            yield from ((f"{within}/{entry.name}", entry) for entry in entries if entry.name.endswith(ending))


def fingerprint(files: Iterable[Named]) -> Fingerprint:
    """Fingerprint of some files; nothing of them is read."""
    numbers = []
    for name, file in files:
        try:
            status = file.stat()
            told = f"{name}\0{status.st_size}\0{status.st_mtime_ns}"
        except OSError as error:  # such as a link to nowhere: a bad sample like others, as long as it is so
            told = f"{name}\0{error.errno}"
        numbers.append(blake2b(os.fsencode(told), digest_size=8).digest())
    return np.sort(np.frombuffer(b"".join(numbers), np.dtype("<u8")).astype(np.uint64))
