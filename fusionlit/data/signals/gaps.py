"""Missing values of windows: detection and filling."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fusionlit.data.signals.windows import Floats
from fusionlit.errors import ConfigError, DataError
from fusionlit.storage.rows import Rows, blocks

OnMissing = Literal["error", "interpolate", "mask"]


def check_policy(on_missing: OnMissing, max_gap: int) -> None:
    """Check that `max_gap` fits `on_missing`.

    Raises:
        ConfigError: If it does not.
    """
    fits = {"error": max_gap == 0, "interpolate": max_gap > 0, "mask": max_gap >= 0}
    if not fits[on_missing]:
        raise ConfigError(
            "Expected `max_gap` (samples) of 0 with `on_missing: error`, at least 1 with `interpolate` and at least 0"
            f" with `mask`, but got {on_missing=}, {max_gap=}."
        )


def fill_gaps(values: Floats, max_gap: int) -> Floats:
    """Interpolate gaps of up to `max_gap` samples in windows `(n, time)`; longer gaps stay NaN.

    Interpolation is linear; at the ends of a window, the nearest value is repeated. A window without values is not
    changed.
    """
    missing = np.isnan(values)
    rows = np.flatnonzero(missing.any(1) & ~missing.all(1))
    if not len(rows) or not max_gap:
        return values
    values = values.copy()
    time = np.arange(values.shape[1])
    for row in rows:
        short = missing[row] & (run_lengths(missing[row]) <= max_gap)
        known = ~missing[row]
        values[row, short] = np.interp(time[short], time[known], values[row, known])
    return values


def run_lengths(missing: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Length of the run of equal values that each sample `(time,)` belongs to."""
    starts = np.flatnonzero(np.r_[True, missing[1:] != missing[:-1]])
    lengths = np.diff(np.r_[starts, len(missing)])
    return np.repeat(lengths, lengths)


class Filled:
    """Windows whose short gaps are filled when they are gathered; windows with longer gaps become all zeros.

    Args:
        values: Windows `(n, channels, time)`, NaN where a value is missing.
        max_gap: Longest gap to fill (samples).
    """

    def __init__(self, values: Rows, max_gap: int) -> None:
        self.values = values
        self.max_gap = max_gap

    def __getitem__(self, rows: NDArray[np.int64]) -> Floats:
        values = self.fill(rows)
        values[np.isnan(values).any((1, 2))] = 0
        return values

    def fill(self, rows: NDArray[np.int64]) -> Floats:
        """Windows with short gaps filled, so that only long gaps remain."""
        values = self.values[rows]
        return fill_gaps(values.reshape(-1, values.shape[-1]), self.max_gap).reshape(values.shape)

    def missing(self, gaps: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Number of values still missing after filling, `(n, channels)`; reads only the windows with `gaps` `(n,)`."""
        rows = np.flatnonzero(gaps)
        counts = np.concatenate([np.isnan(self.fill(block)).sum(2) for block in blocks([self.values], rows)])
        missing = np.zeros((len(gaps), counts.shape[1]), np.int64)
        missing[rows] = counts
        return missing


def check_complete(source: str, missing: Mapping[str, NDArray[np.int64]], max_gap: int) -> None:
    """Raise DataError if values are still missing.

    Args:
        source: Name of the source, for messages.
        missing: Number of missing values in each window, `(n,)`, by channel.
        max_gap: Longest gap that was filled (samples).

    Raises:
        DataError: The message lists each channel with its numbers of values and windows, and the first window.
    """
    lines = [line for name, counts in missing.items() if (line := _missing_line(name, counts))]
    if not lines:
        return
    longer = f" in gaps longer than `max_gap` ({max_gap} samples)" if max_gap else ""
    raise DataError(
        f"{source}: values are missing{longer}:\n{_listed(lines)}\nFill them, set `on_missing: interpolate` with a"
        " `max_gap` that covers them, or `on_missing: mask` to treat the modality as missing in these windows."
    )


def check_finite(source: str, channels: dict[str, Floats]) -> None:
    """Raise DataError if a value is infinite.

    Raises:
        DataError: The message names the channel and the first window.
    """
    for name, values in channels.items():
        infinite = np.isinf(values)
        if infinite.any():
            window = int(infinite.any(1).argmax())
            raise DataError(
                f"{source}: expected finite values, but channel {name!r} has {int(infinite.sum())} infinite values, the"
                f" first in window {window}. Use NaN for missing values."
            )


def _missing_line(name: str, counts: NDArray[np.int64]) -> str:
    if not counts.any():
        return ""
    first = int((counts > 0).argmax())
    return (
        f"  channel {name!r}: {int(counts.sum())} values in {int((counts > 0).sum())} windows (the first is window"
        f" {first}, with {int(counts[first])})"
    )


def _listed(lines: Sequence[str], most: int = 10) -> str:
    return "\n".join([*lines[:most], *([f"  ... and {len(lines) - most} more channels"] if len(lines) > most else [])])
