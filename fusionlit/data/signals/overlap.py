"""Windows that share samples must be on one side of a split."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from fusionlit.data.signals.windows import Floats
from fusionlit.errors import DataError
from fusionlit.storage.rows import Rows, blocks
from fusionlit.types import SPLITS

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
    # The first and the last sample of a stretch tell most pairs apart.
    starts = (before == after[:, :, :1]).all(1)
    for shift in range(1, length - LEAST + 1):
        size = length - shift
        pairs = np.flatnonzero(starts[:, shift] & changing & (shared == 0))
        pairs = pairs[(before[pairs, :, -1] == after[pairs, :, size - 1]).all(1)]
        stretch = after[pairs, :, :size]
        same = (before[pairs, :, shift:] == stretch).all((1, 2))
        moves = (stretch != stretch[:, :, :1]).any((1, 2))
        shared[pairs[same & moves]] = size
    return shared


def check_overlap(values: Sequence[Rows], side: NDArray[np.str_]) -> None:
    """Refuse a split with windows that share samples on two sides.

    A window is compared with the last one before it in each other split, whatever lies between them: windows of the
    third split, and unused ones. Windows in another order than that of time are not found.

    Args:
        values: `(n, channels, time)` of each modality, finite or NaN, all of one length.
        side: `(n,)` split of each window; empty where it is not used.

    Raises:
        DataError: With the first such windows.
    """
    before, after = _seams(side)
    if not len(before):
        return
    pairs = list(blocks(values, np.arange(len(before))))
    shared = np.concatenate([shared_samples(_gather(values, before[k]), _gather(values, after[k])) for k in pairs])
    if not shared.any():
        return
    k = int((shared > 0).argmax())
    i, j = int(before[k]), int(after[k])
    length = _gather(values, before[:1]).shape[-1]
    raise DataError(
        f"The split puts windows that share samples on two sides, {int((shared > 0).sum())} times: windows {i} and {j}"
        f" share {shared[k]} of {length} samples, but are in {side[i]} and {side[j]}. The metrics would"
        " measure memory. Say in the data which windows belong together (subject, recording), and split by these"
        " groups."
    )


def _gather(values: Sequence[Rows], rows: NDArray[np.int64]) -> Floats:
    # Missing samples, which are shared too, must compare as equal; no value is infinite.
    windows: Floats = np.concatenate([each[rows] for each in values], axis=1)
    return np.nan_to_num(windows, copy=False, nan=np.inf)


def _seams(side: NDArray[np.str_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Windows on two sides that follow each other, once the windows of the third side and unused ones are left out."""
    before, after = [], []
    for pair in combinations(SPLITS, 2):
        used = np.flatnonzero(np.isin(side, pair))
        apart = side[used[1:]] != side[used[:-1]]
        before.append(used[:-1][apart])
        after.append(used[1:][apart])
    return np.concatenate(before), np.concatenate(after)
