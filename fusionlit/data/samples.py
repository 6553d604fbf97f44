"""The samples of a data set, before they are split."""

from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fusionlit.data.assignment import some
from fusionlit.data.targets import Targets
from fusionlit.errors import DataError
from fusionlit.storage.npz import Array
from fusionlit.storage.pack import Pack
from fusionlit.storage.rows import Rows
from fusionlit.types import SPLITS, Split


@dataclass(frozen=True)
class Samples:
    """All `n` samples of a data set; the number of a sample is its `index` in a batch.

    Args:
        inputs: Values `(n, *shape)` by modality, before `convert`: arrays, memory-mapped files, or `FileRows`.
        targets: Targets of all samples, from `make_targets`.
        groups: Group of each sample, `(n,)`, such as its subject or recording; a group stays in one split.
        presence: Presence masks `(n,)` bool by modality (its name after `convert`); modalities without a mask are never
            missing.
        official: Official split of each sample, `(n,)`, if the source has one.
        rows: Numbers of the usable samples, in ascending order; None: all.
        source: Name of the source, for messages.
        pack: Pack that the inputs are mapped from, if any.

    Raises:
        DataError: If there are no samples, or the lengths differ.
    """

    inputs: Mapping[str, Rows]
    targets: Targets
    groups: Sequence[str]
    presence: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    official: Sequence[Split] | None = None
    rows: NDArray[np.int64] | None = None
    source: str = "the data"
    pack: Pack | None = None

    @property
    def usable(self) -> NDArray[np.int64]:
        """Numbers of the usable samples, in ascending order."""
        return np.arange(len(self.groups)) if self.rows is None else self.rows

    def __post_init__(self) -> None:
        if not isinstance(self.targets, Targets):
            raise DataError(
                f"{self.source}: expected `targets` from `make_targets(values)`, but got {type(self.targets).__name__}."
            )
        n = len(self.targets.values)
        given = {
            "groups": [str(group) for group in self.groups],
            "presence": {name: np.asarray(mask, np.bool_) for name, mask in self.presence.items()},
            "official": None if self.official is None else [str(split) for split in self.official],
            "rows": None if self.rows is None else np.asarray(self.rows, np.int64),
        }
        for name, value in given.items():
            object.__setattr__(self, name, value)
        lengths = {f"of {name!r}": len(x) for name, x in self.inputs.items() if isinstance(x, Sized)}
        lengths |= {"groups": len(self.groups)}
        lengths |= {f"presence of {name!r}": len(mask) for name, mask in self.presence.items()}
        lengths |= {"official": n if self.official is None else len(self.official)}
        if n == 0 or any(length != n for length in lengths.values()):
            raise DataError(
                f"{self.source}: expected at least one sample, and equal numbers of inputs, targets and groups, but got"
                f" {n} targets, {', '.join(f'{length} {name}' for name, length in lengths.items())}. Give one of each"
                " per sample."
            )
        rows = self.usable
        if len(rows) and (rows[0] < 0 or rows[-1] >= n or (np.diff(rows) <= 0).any()):
            raise DataError(f"{self.source}: expected `rows` to be numbers of the {n} samples, each once, in order.")
        if unknown := sorted(set(self.official or ()) - set(SPLITS)):
            raise DataError(
                f"{self.source}: expected 'train', 'val' and 'test' as names of the official split, but got"
                f" {some(unknown)}. Rename them."
            )


class FileRows:
    """One file per sample, read whenever it is gathered: inputs for `Samples` that need not fit in memory.

    Args:
        paths: Paths of the files.
        read: Function that returns the values of a file; all must have the same shape.
    """

    def __init__(self, paths: Sequence[Path], read: Callable[[Path], ArrayLike]) -> None:
        self.paths = paths
        self.read = read

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, rows: NDArray[np.int64]) -> Array:
        """Values `(rows, *shape)`.

        Raises:
            DataError: If the shapes of the files differ.
        """
        values = [np.asarray(self.read(self.paths[row])) for row in rows]
        for row, each in zip(rows, values, strict=True):
            if each.shape != values[0].shape:
                raise DataError(
                    f"{self.paths[row]}: expected shape {values[0].shape}, as in {self.paths[rows[0]]}, but got"
                    f" {each.shape}. Pad or crop the values in the function that reads the file."
                )
        return np.stack(values)
