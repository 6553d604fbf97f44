"""Check that windows which share samples are in the same split."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from fusionlit.data.signals.windows import Floats
from fusionlit.errors import DataError
from fusionlit.storage.rows import Rows, blocks
from fusionlit.types import SPLITS

LEAST = 8
"""Least number of shared samples that counts as an overlap; fewer may agree by chance."""


def shared_samples(before: Floats, after: Floats) -> NDArray[np.int64]:
    """Number of samples shared by the end of one window and the start of another, for each pair, `(n,)`.

    They share T - s samples if `after[:, :, : T - s] == before[:, :, s:]`. A stretch in which no channel changes is no
    evidence, and counts as not shared.

    Args:
        before: First window of each pair, `(n, channels, time)`.
        after: Second window of each pair, `(n, channels, time)`.
    """
    shared = np.zeros(len(before), np.int64)
    length = before.shape[-1]
    changing = (after != after[:, :, :1]).any((1, 2))
    # Comparing the first and the last sample of a stretch rules out most pairs.
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
    """Raise DataError if windows in different splits share samples.

    Each window is compared with the last window before it in every other split, even if windows of a third split or
    unused windows lie between them. Overlaps are only found if windows are in temporal order.

    Args:
        values: Windows `(n, channels, time)` of each modality, finite or NaN, all of the same length.
        side: Split of each window, `(n,)`; empty for unused windows.

    Raises:
        DataError: The message names the first such windows.
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
        f"Expected windows that share samples in the same split, but {int((shared > 0).sum())} pairs are not: windows"
        f" {i} and {j} share {shared[k]} of {length} samples, but are in {side[i]} and {side[j]}. The metrics would"
        " measure memorisation. Add groups to the data (subject, recording), and split by these groups."
    )


def _gather(values: Sequence[Rows], rows: NDArray[np.int64]) -> Floats:
    # Missing samples must compare as equal, since they are shared too; no value is infinite.
    windows: Floats = np.concatenate([each[rows] for each in values], axis=1)
    return np.nan_to_num(windows, copy=False, nan=np.inf)


def _seams(side: NDArray[np.str_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of consecutive windows in different splits, ignoring windows of the third split and unused ones."""
    before, after = [], []
    for pair in combinations(SPLITS, 2):
        used = np.flatnonzero(np.isin(side, pair))
        apart = side[used[1:]] != side[used[:-1]]
        before.append(used[:-1][apart])
        after.append(used[1:][apart])
    return np.concatenate(before), np.concatenate(after)
