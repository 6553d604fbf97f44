"""The one form in which every reader hands over its signals: labelled windows of named channels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


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


@dataclass(frozen=True)
class Windows:
    """`n` labelled windows.

    Args:
        channels: By name, in the source's order; all have `n` windows, their lengths in samples may differ.
        target: `(n,)` labels from 0.
        classes: Name of each label.
        group: `(n,)` text: subject or recording, whatever must never be torn apart by a split.
        official: `(n,)` text, `train` or `test`, where the source comes split; else None.
        overlapping: Whether windows of one group may share samples.
    """

    channels: dict[str, Channel]
    target: NDArray[np.int64]
    classes: tuple[str, ...]
    group: NDArray[np.str_]
    official: NDArray[np.str_] | None = None
    overlapping: bool = False

    def __len__(self) -> int:
        return len(self.target)
