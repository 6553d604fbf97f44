"""Windows as they are packed: an array a modality, a table beside them, and what the values alone say."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusionlit.data.signals.gaps import check_finite
from fusionlit.data.signals.readers.base import Modalities, channels_of
from fusionlit.data.signals.suspects import odd_channels, window_keys
from fusionlit.data.signals.windows import Floats, Grid, Header, Windows
from fusionlit.storage.mapped import MappedArray
from fusionlit.storage.pack import Column, Contents, Pack

TABLE = ("target", "group", "official", "gaps", "keys")
"""Fields that are arrays with a row a window, small enough for memory."""


class Channels:
    """Channels `(n, time)` of one modality, gathered as `(rows, channels, time)`.

    Args:
        values: All of one length.
    """

    def __init__(self, values: Sequence[Floats]) -> None:
        self.values = values
        self.dtype = np.result_type(*values)
        self.shape = (len(values[0]), len(values), values[0].shape[1])

    def __getitem__(self, rows: NDArray[np.int64] | int) -> Floats:
        return np.stack([values[rows] for values in self.values], axis=-2)


@dataclass(frozen=True)
class Stacked:
    """`n` labelled windows by modality, in memory or mapped from a pack.

    Args:
        inputs: `(n, channels, time)` of each modality as the source has them: NaN where a value is missing.
        modalities: Channels of each modality.
        header: Grids of these channels, and the classes.
        target: `(n,)` labels from 0.
        group: `(n,)` text, see `Windows`.
        official: `(n,)` text or None, see `Windows`.
        gaps: `(n, modalities)`, whether a value is missing.
        keys: `(n,)`, equal where windows are equal in every channel; 0 where no channel moves.
        overlapping: Whether windows of one group may share samples.
        left_out: How many windows were left out, by reason.
        suspects: What looks wrong with channels.
        pack: Where they are mapped from a pack.
    """

    inputs: dict[str, Channels] | dict[str, MappedArray]
    modalities: dict[str, list[str]]
    header: Header
    target: NDArray[np.int64]
    group: NDArray[np.str_]
    official: NDArray[np.str_] | None
    gaps: NDArray[np.bool_]
    keys: NDArray[np.uint64]
    overlapping: bool
    left_out: dict[str, int]
    suspects: list[str]
    pack: Pack | None = None

    def __len__(self) -> int:
        return len(self.target)

    def contents(self) -> Contents:
        """All of it, to be packed; modalities by number, since their names need not be such of files."""
        table = {name: getattr(self, name) for name in TABLE if getattr(self, name) is not None}
        arrays = table | {f"input_{i}": values for i, values in enumerate(self.inputs.values())}
        grids = self.header.channels
        notes = {
            "modalities": self.modalities,
            "channels": {name: (length, rate and float(rate), unit) for name, (length, rate, unit) in grids.items()},
            "classes": self.header.classes,
            "overlapping": bool(self.overlapping),
            "left_out": {reason: int(count) for reason, count in self.left_out.items()},
            "suspects": self.suspects,
        }
        columns = {name: Column(x.dtype.str, x.shape) for name, x in arrays.items()}
        return Contents(columns, range(len(self)), lambda row: {name: x[row] for name, x in arrays.items()}, notes)

    @classmethod
    def of(cls, pack: Pack) -> "Stacked":
        """What was packed."""
        notes = dict(pack.notes)
        channels = {name: Grid(*grid) for name, grid in notes.pop("channels").items()}
        header = Header(channels, tuple(notes.pop("classes")))
        inputs = {name: pack.arrays[f"input_{i}"] for i, name in enumerate(notes["modalities"])}
        table: dict[str, Any] = {name: np.array(pack.arrays[name][:]) for name in TABLE if name in pack.arrays}
        return cls(inputs=inputs, header=header, pack=pack, **{"official": None, **table}, **notes)


def stack(root: Path, windows: Windows, modalities: Modalities) -> Stacked:
    """Windows by modality, once they are found to be finite.

    Raises:
        DataError: If a value is infinite.
    """
    channels = {name: windows.channels[name].values for name in channels_of(modalities)}
    check_finite(str(root), channels)
    missing = {name: np.isnan(values).any(1) for name, values in channels.items()}
    return Stacked(
        inputs={modality: Channels([channels[name] for name in names]) for modality, names in modalities.items()},
        modalities=dict(modalities),
        header=Header({name: windows.channels[name].grid for name in channels}, windows.classes),
        target=windows.target,
        group=windows.group.astype(np.str_),
        official=None if windows.official is None else windows.official.astype(np.str_),
        gaps=np.stack([np.any([missing[name] for name in names], axis=0) for names in modalities.values()], axis=1),
        keys=window_keys(channels),
        overlapping=windows.overlapping,
        left_out=windows.left_out,
        suspects=odd_channels(channels),
    )
