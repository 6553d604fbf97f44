"""Windows in the form in which they are packed: one array per modality, and a table with one row per window."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusionlit.data.signals.gaps import check_finite
from fusionlit.data.signals.readers.base import ChannelGroups, channels_of
from fusionlit.data.signals.suspects import odd_channels, window_keys
from fusionlit.data.signals.windows import Floats, Grid, Header, Windows
from fusionlit.storage.mapped import MappedArray
from fusionlit.storage.pack import Column, Contents, Pack

TABLE = ("target", "group", "official", "gaps", "keys")
"""Fields that are arrays with one row per window, small enough for memory."""


class Channels:
    """Channels `(n, time)` of a modality, gathered as `(rows, channels, time)`.

    Args:
        values: Values of each channel, all of the same length.
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
        inputs: Values `(n, channels, time)` of each modality, as in the source; NaN where a value is missing.
        modalities: Channels of each modality.
        header: Grids of these channels, and the classes.
        target: Labels from 0, `(n,)`.
        group: Groups `(n,)`, see `Windows`.
        official: Official splits `(n,)` or None, see `Windows`.
        gaps: Whether values are missing, `(n, modalities)`.
        keys: Numbers `(n,)` that are equal for windows equal in every channel; 0 if no channel changes.
        overlapping: Whether windows of a group may share samples.
        left_out: Number of windows left out, by reason.
        suspects: Warnings about suspicious channels.
        pack: Pack that the windows are mapped from, if any.
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
        """Contents of the pack; modalities are numbered, since their names may not be valid file names."""
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
        """Windows of a pack."""
        notes = dict(pack.notes)
        channels = {name: Grid(*grid) for name, grid in notes.pop("channels").items()}
        header = Header(channels, tuple(notes.pop("classes")))
        inputs = {name: pack.arrays[f"input_{i}"] for i, name in enumerate(notes["modalities"])}
        table: dict[str, Any] = {name: np.array(pack.arrays[name][:]) for name in TABLE if name in pack.arrays}
        return cls(inputs=inputs, header=header, pack=pack, **{"official": None, **table}, **notes)


def stack(root: Path, windows: Windows, modalities: ChannelGroups) -> Stacked:
    """Group the channels of windows by modality.

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
