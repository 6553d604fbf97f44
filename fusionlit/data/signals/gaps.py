"""Missing values of windows: where they are, and what becomes of them."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fusionlit.data.signals.windows import Floats
from fusionlit.errors import ConfigError, DataError

OnMissing = Literal["error", "interpolate", "absent"]


def check_policy(on_missing: OnMissing, max_gap: int) -> None:
    """Refuse a length of gaps without leave to fill them, and leave without a length.

    Raises:
        ConfigError: If the two do not fit.
    """
    fits = {"error": max_gap == 0, "interpolate": max_gap > 0, "absent": max_gap >= 0}
    if not fits[on_missing]:
        raise ConfigError(
            "Expected `max_gap` (samples) of 0 with `on_missing: error`, at least 1 with `interpolate` and at least 0"
            f" with `absent`, but got {on_missing=}, {max_gap=}."
        )


def fill_gaps(values: Floats, max_gap: int) -> Floats:
    """Windows `(n, time)` whose gaps of up to `max_gap` samples are interpolated; longer ones stay NaN.

    Inside a window linearly; at its ends the nearest value is held. A window without any value stays as it is.
    """
    missing = np.isnan(values)
    rows = np.flatnonzero(missing.any(1) & ~missing.all(1))
    if not len(rows) or not max_gap:
        return values
    values = values.copy()
    time = np.arange(values.shape[1])
    for row in rows:
        short = missing[row] & (run_lengths(missing[row]) <= max_gap)
        there = ~missing[row]
        values[row, short] = np.interp(time[short], time[there], values[row, there])
    return values


def run_lengths(missing: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Length of the run of equal values in which each sample `(time,)` stands."""
    starts = np.flatnonzero(np.r_[True, missing[1:] != missing[:-1]])
    lengths = np.diff(np.r_[starts, len(missing)])
    return np.repeat(lengths, lengths)


def check_complete(source: str, channels: dict[str, Floats], max_gap: int) -> None:
    """Refuse windows that still lack values.

    Raises:
        DataError: Naming each channel, with the number of values and windows, and the first of them.
    """
    lines = [line for name, values in channels.items() if (line := _lacking(name, values))]
    if not lines:
        return
    longer = f" in gaps longer than `max_gap` ({max_gap} samples)" if max_gap else ""
    raise DataError(
        f"{source}: values are missing{longer}:\n{_listed(lines)}\nFill them, set `on_missing: interpolate` with a"
        " `max_gap` that covers them, or `on_missing: absent`, which takes the modality as absent in these windows."
    )


def check_finite(source: str, channels: dict[str, Floats]) -> None:
    """Refuse infinite values, which nobody measures.

    Raises:
        DataError: Naming the channel and the first window.
    """
    for name, values in channels.items():
        infinite = np.isinf(values)
        if infinite.any():
            window = int(infinite.any(1).argmax())
            raise DataError(
                f"{source}: expected finite values, but channel {name!r} has {int(infinite.sum())} infinite ones, the"
                f" first in window {window}. Write missing values as NaN."
            )


def _lacking(name: str, values: Floats) -> str:
    counts = np.isnan(values).sum(1)
    if not counts.any():
        return ""
    first = int((counts > 0).argmax())
    return (
        f"  channel {name!r}: {int(counts.sum())} values in {int((counts > 0).sum())} windows (the first is window"
        f" {first}, with {int(counts[first])})"
    )


def _listed(lines: Sequence[str], most: int = 10) -> str:
    return "\n".join([*lines[:most], *([f"  ... and {len(lines) - most} more channels"] if len(lines) > most else [])])
