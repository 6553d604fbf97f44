"""The one form in which every reader hands over its signals: labelled windows of named channels."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


class Grid(NamedTuple):
    """When a channel was measured in every window, and in what unit.

    Args:
        length: Samples a window.
        rate: Samples per second (Hz); None where the source does not tell.
        unit: Physical unit, such as `g` or `rad/s`; empty where the source does not tell.
    """

    length: int
    rate: float | None = None
    unit: str = ""


class Header(NamedTuple):
    """What a source tells before its signals are read.

    Args:
        channels: Grid of each channel by name, in the source's order.
        classes: Name of each label.
    """

    channels: dict[str, Grid]
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Channel:
    """One channel of every window, on its own grid.

    Args:
        values: `(n, time)` float32; NaN where a value is missing.
        rate: Samples per second (Hz); None where the source does not tell.
        unit: Physical unit, such as `g` or `rad/s`; empty where the source does not tell.
    """

    values: Floats
    rate: float | None = None
    unit: str = ""

    @property
    def grid(self) -> Grid:
        """The channel without its values."""
        return Grid(self.values.shape[1], self.rate, self.unit)


@dataclass(frozen=True)
class Windows:
    """`n` labelled windows.

    Args:
        channels: By name, in the source's order; all have `n` windows, their lengths in samples may differ.
        target: `(n,)` labels from 0.
        classes: Name of each label.
        group: `(n,)` text: subject or recording, whatever must never be torn apart by a split; a source without groups
            gives every window a group of its own.
        official: `(n,)` text, `train`, `val` or `test`, where the source comes split; else None.
        overlapping: Whether windows of one group may share samples.
        left_out: How many windows were left out, by reason.
    """

    channels: dict[str, Channel]
    target: NDArray[np.int64]
    classes: tuple[str, ...]
    group: NDArray[np.str_]
    official: NDArray[np.str_] | None = None
    overlapping: bool = False
    left_out: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.target)

    @property
    def header(self) -> Header:
        """What the windows are, without their values."""
        return Header({name: channel.grid for name, channel in self.channels.items()}, self.classes)
