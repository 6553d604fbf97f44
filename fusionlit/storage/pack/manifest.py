"""Manifest of a pack."""

import json
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from fusionlit.errors import DataError

FILE = "manifest.json"
VERSION = 2
"""Version of the pack format and of our readers; a pack with another version is created anew."""


class Column(NamedTuple):
    """Type (in NumPy notation, such as `<f4`) and shape `(n, *shape)` of a packed array."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Manifest:
    """Contents of a pack.

    Args:
        root: Folder or file of the data set, relative to the folder of all packs, so that both can be moved together.
        columns: Arrays by name; each is an NPY file.
        checksums: CRC-32 of every block of every column.
        step: Rows per block.
        bad: Reason for each row that could not be read; starts with its file, relative to the root.
        notes: Additional information from the source.
    """

    root: str
    columns: dict[str, Column]
    checksums: dict[str, list[int]]
    step: int
    bad: dict[int, str]
    notes: dict[str, Any]

    def save(self, folder: Path) -> None:
        """Write the manifest, with its own checksum."""
        content = json.loads(json.dumps(asdict(self)))  # the checksum is of the content as it will be read
        text = json.dumps({"version": VERSION, "checksum": _checksum(content), "content": content})
        (folder / FILE).write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Manifest":
        """Read the manifest.

        Raises:
            DataError: If it is missing, of another version, or damaged; the message completes "because ...".
        """
        try:
            read: dict[str, Any] = json.loads((folder / FILE).read_text(encoding="utf-8"))
            version, content = read["version"], read["content"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{FILE} cannot be read ({error!r})") from error
        if version != VERSION:
            raise DataError(f"its format is version {version}, but this is version {VERSION}")
        if _checksum(content) != read.get("checksum"):
            raise DataError(f"{FILE} is damaged")
        return cls(
            content["root"],
            {name: Column(dtype, tuple(shape)) for name, (dtype, shape) in content["columns"].items()},
            content["checksums"],
            content["step"],
            {int(row): reason for row, reason in content["bad"].items()},
            content["notes"],
        )


def _checksum(content: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())
