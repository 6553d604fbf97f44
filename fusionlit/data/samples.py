"""All samples of a data set, before they are split."""

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
    """`n` samples; the number of a sample is its `index` in a batch.

    Args:
        inputs: `(n, *shape)` by modality, raw, as they travel: arrays, mapped files, or `FileRows`.
        targets: What is to be predicted, and its value for each sample; `make_targets` makes them.
        groups: `(n,)` group of each sample: what a split must never tear apart, such as a subject or a recording.
        presence: `(n,)` bool by modality, as `convert` names them, false where a sample lacks one; one that is
            left out is always there.
        official: `(n,)` the source's own split, where it comes split.
        rows: Numbers of the samples that can be used, in ascending order; None: all.
        source: Where they come from, for messages.
        pack: What the inputs are mapped from, where they are packed.

    Raises:
        DataError: If there are no samples, or the parts do not fit each other.
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
        """Numbers of the samples that can be used, in ascending order."""
        return np.arange(len(self.groups)) if self.rows is None else self.rows

    def __post_init__(self) -> None:
        n = len(self.targets.values)
        lengths = {f"of {name!r}": len(x) for name, x in self.inputs.items() if isinstance(x, Sized)}
        lengths |= {"groups": len(self.groups)}
        lengths |= {f"presence of {name!r}": len(there) for name, there in self.presence.items()}
        lengths |= {"official": n if self.official is None else len(self.official)}
        if n == 0 or any(length != n for length in lengths.values()):
            raise DataError(
                f"{self.source}: expected at least one sample, and as many of each as there are targets, but got"
                f" {n} targets, {', '.join(f'{length} {name}' for name, length in lengths.items())}. Give one of each"
                " per sample."
            )
        if unknown := sorted(set(self.official or ()) - set(SPLITS)):
            raise DataError(
                f"{self.source}: its own split: expected 'train', 'val' and 'test', but got {some(unknown)}. Rename"
                " them."
            )


class FileRows:
    """A file per sample, read whenever it is gathered: inputs for `Samples` that need not fit in memory.

    Args:
        paths: The files.
        read: Gives the values of a file, all of one shape.
    """

    def __init__(self, paths: Sequence[Path], read: Callable[[Path], ArrayLike]) -> None:
        self.paths = paths
        self.read = read

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, rows: NDArray[np.int64]) -> Array:
        """Values `(rows, *shape)`.

        Raises:
            DataError: If two files have other shapes.
        """
        values = [np.asarray(self.read(self.paths[row])) for row in rows]
        for row, each in zip(rows, values, strict=True):
            if each.shape != values[0].shape:
                raise DataError(
                    f"{self.paths[row]}: expected values {values[0].shape}, as {self.paths[rows[0]]} has, but got"
                    f" {each.shape}. Pad or crop to one length where it is read."
                )
        return np.stack(values)
