"""Windows that share samples must be on one side of a split."""

import numpy as np
from numpy.typing import NDArray

from fusionlit.data.signals.windows import Floats
from fusionlit.errors import DataError

LEAST = 8
"""Samples that two windows must share before they are taken to overlap; fewer may agree by chance."""


def shared_samples(before: Floats, after: Floats) -> NDArray[np.int64]:
    """How many samples the end of one window shares with the start of another, pair by pair, `(n,)`.

    They share T - s samples if `after[:, :, : T - s] == before[:, :, s:]`. A stretch in which no channel changes tells
    nothing, and counts as not shared.

    Args:
        before: `(n, channels, time)`.
        after: `(n, channels, time)`.
    """
    shared = np.zeros(len(before), np.int64)
    length = before.shape[-1]
    changing = (after != after[:, :, :1]).any((1, 2))
    for shift in range(1, length - LEAST + 1):
        size = length - shift
        ends = (before[:, :, shift] == after[:, :, 0]) & (before[:, :, -1] == after[:, :, size - 1])
        pairs = np.flatnonzero(ends.all(1) & changing & (shared == 0))
        stretch = after[pairs, :, :size]
        same = (before[pairs, :, shift:] == stretch).all((1, 2))
        moves = (stretch != stretch[:, :, :1]).any((1, 2))
        shared[pairs[same & moves]] = size
    return shared


def check_overlap(values: Floats, side: NDArray[np.str_]) -> None:
    """Refuse a split with consecutive windows that share samples on two sides.

    Args:
        values: `(n, channels, time)`.
        side: `(n,)` split of each window; empty where it is not used.

    Raises:
        DataError: With the first such windows.
    """
    apart = np.flatnonzero((side[1:] != side[:-1]) & (side[1:] != "") & (side[:-1] != ""))
    shared = shared_samples(values[apart], values[apart + 1])
    if not shared.any():
        return
    k = int((shared > 0).argmax())
    i = int(apart[k])
    raise DataError(
        f"The split puts windows that share samples on two sides, {int((shared > 0).sum())} times: windows {i} and"
        f" {i + 1} share {shared[k]} of {values.shape[-1]} samples, but are in {side[i]} and {side[i + 1]}. The metrics"
        " would measure memory. Say in the data which windows belong together (subject, recording), and split by these"
        " groups."
    )
