"""What is packed: which files there are, and how a row is made of them."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusionlit.data.pack.manifest import Column

Fingerprint = NDArray[np.uint64]
"""One number a file, sorted; another path, size or time of the last change gives another number."""


@dataclass(frozen=True)
class Source:
    """A data set of files, as packing sees it.

    Args:
        root: Its folder.
        columns: Type and shape of each packed array, `(n, *shape)`, by name.
        rows: The rows that files fill, in ascending order; the others stay 0.
        read: Gives the values of a row by name; raises DataError if its files cannot be used.
        look: Gives the fingerprint of all files, as they are when it is called.
    """

    root: Path
    columns: Mapping[str, Column]
    rows: Sequence[int]
    read: Callable[[int], Mapping[str, NDArray[Any]]]
    look: Callable[[], Fingerprint]


def fingerprint(root: Path, folders: Iterable[tuple[Path, str]]) -> Fingerprint:
    """Fingerprint of the files in some folders; nothing of them is read.

    Args:
        root: What paths are taken relative to, so that a data set may be moved.
        folders: Each with the ending of the names of its files that count.
    """
    numbers = []
    for folder, ending in folders:
        within = folder.relative_to(root).as_posix()
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(ending):
                    try:
                        status = entry.stat()
                        told = f"{within}/{entry.name}\0{status.st_size}\0{status.st_mtime_ns}"
                    except OSError as error:  # such as a link to nowhere: a bad sample like others, as long as it is so
                        told = f"{within}/{entry.name}\0{error.errno}"
                    numbers.append(blake2b(os.fsencode(told), digest_size=8).digest())
    return np.sort(np.frombuffer(b"".join(numbers), np.dtype("<u8")).astype(np.uint64))
