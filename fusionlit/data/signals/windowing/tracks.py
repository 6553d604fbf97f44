"""Recordings before they are cut into windows: channels with their own time stamps, and labels over time."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


def estimate_rate(steps: Doubles) -> float:
    """Estimate the sampling rate (Hz) from steps (s) between time stamps with jitter and gaps.

    The inverse of the mean of all steps from 0.5 to 1.5 times the median: the median alone is wrong if time stamps are
    rounded (64 Hz in whole milliseconds), the mean alone if samples are lost. Rounded to the fewest digits within
    0.1 %: 50 for 49.98.
    """
    median = np.quantile(steps, 0.5, method="lower")  # one of the steps, so that at least one step is near it
    rate = float(1 / steps[np.abs(steps - median) <= 0.5 * median].mean())
    rounded = (float(f"{rate:.{digits}g}") for digits in range(1, 17))
    return next(r for r in rounded if abs(r - rate) <= 1e-3 * rate)


@dataclass(frozen=True)
class Track:
    """One channel of one recording, without missing samples.

    Args:
        times: Increasing times (s), `(samples,)`.
        values: Values `(samples,)`.
    """

    times: Doubles
    values: Doubles

    @cached_property
    def period(self) -> float:
        """Sampling period (s); 0 if there is only one sample."""
        return 1 / estimate_rate(np.diff(self.times)) if len(self.times) > 1 else 0.0


@dataclass(frozen=True)
class Recording:
    """One uninterrupted measurement by several sensors.

    Args:
        name: Name for messages: its file, and its name within the file.
        tracks: Channels by name; a track without samples is missing in this recording.
        times: Times of the labels (s), not decreasing, `(rows,)`.
        labels: Labels `(rows,)`, empty for unlabelled rows.
        group: Group of the recording.
        official: Official split, `train`, `val` or `test`; None if the source has none.
    """

    name: str
    tracks: dict[str, Track]
    times: Doubles
    labels: NDArray[np.str_]
    group: str
    official: str | None = None
