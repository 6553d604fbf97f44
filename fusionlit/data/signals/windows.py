"""The result of every reader: labelled windows of named channels."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


class Grid(NamedTuple):
    """Length, sampling rate and unit of a channel, the same in every window.

    Args:
        length: Samples per window.
        rate: Samples per second (Hz); None if unknown.
        unit: Physical unit, such as `g` or `rad/s`; empty if unknown.
    """

    length: int
    rate: float | None = None
    unit: str = ""


class Header(NamedTuple):
    """What is known about a source before its signals are read.

    Args:
        channels: Grid of each channel by name, in the order of the source.
        classes: Class names.
    """

    channels: dict[str, Grid]
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Channel:
    """One channel of all windows, on its own grid.

    Args:
        values: Values `(n, time)` float32; NaN where a value is missing.
        rate: Samples per second (Hz); None if unknown.
        unit: Physical unit, such as `g` or `rad/s`; empty if unknown.
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
        channels: Channels by name, in the order of the source; all have `n` windows, but may differ in length.
        target: Labels from 0, `(n,)`.
        classes: Class names.
        group: Group of each window, `(n,)` text, such as its subject or recording, which stays in one split; in a
            source without groups, every window is its own group.
        official: Official split of each window, `(n,)` text: `train`, `val` or `test`; None if the source has none.
        overlapping: Whether windows of a group may share samples.
        left_out: Number of windows left out, by reason.
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
        """Channels and classes, without the values."""
        return Header({name: channel.grid for name, channel in self.channels.items()}, self.classes)
