"""What a recording is before it is cut into windows: channels on clocks of their own, and labels over time."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


def estimate_rate(steps: Doubles) -> float:
    """Samples per second (Hz) behind steps (s) between time stamps with jitter and gaps.

    One over the mean of the steps from 0.5 to 1.5 medians: the median alone is off where stamps are rounded (64 Hz in
    whole milliseconds), the mean alone where samples are lost. Written with the fewest digits within 0.1 %: 50 for
    49.98.
    """
    median = np.quantile(steps, 0.5, method="lower")  # one of the steps, so that at least it is near
    rate = float(1 / steps[np.abs(steps - median) <= 0.5 * median].mean())
    rounded = (float(f"{rate:.{digits}g}") for digits in range(1, 17))
    return next(r for r in rounded if abs(r - rate) <= 1e-3 * rate)


@dataclass(frozen=True)
class Track:
    """One channel of one recording: only the samples that are there.

    Args:
        times: `(samples,)` seconds, increasing.
        values: `(samples,)`.
    """

    times: Doubles
    values: Doubles

    @cached_property
    def period(self) -> float:
        """Seconds from sample to sample; 0 where there is only one."""
        return 1 / estimate_rate(np.diff(self.times)) if len(self.times) > 1 else 0.0


@dataclass(frozen=True)
class Recording:
    """One uninterrupted measurement by several sensors.

    Args:
        name: For messages: its file, and which recording of it.
        tracks: Channels by name; a track without samples is missing from this recording.
        times: `(rows,)` seconds of the labels, not decreasing.
        labels: `(rows,)` text, empty where there is none.
        group: What a split must not tear apart.
        official: `train`, `val` or `test`, or None where the source does not come split.
    """

    name: str
    tracks: dict[str, Track]
    times: Doubles
    labels: NDArray[np.str_]
    group: str
    official: str | None = None
