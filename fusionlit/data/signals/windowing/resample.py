"""Resampling of a channel with its own time stamps to a regular grid."""

import numpy as np
from numpy.typing import NDArray

from fusionlit.data.signals.windowing.tracks import Doubles, Track

GAP = 2.5
"""Steps of more sampling periods than this are gaps: two lost samples, but not one."""


def resample(track: Track, at: Doubles, rate: float) -> Doubles:
    """Values at the given times, interpolated linearly; NaN in gaps.

    If the rate of the track is above 1.1 `rate`, a low-pass filter at half of `rate` prevents aliasing. Next to a gap
    and at the ends, each value is extended by half a sampling period.

    Args:
        track: The channel.
        at: Times (s), in any shape.
        rate: Samples per second (Hz) of the grid of `at`.
    """
    if not len(track.times):
        return np.full(at.shape, np.nan)
    values = _interpolate(track, at)
    if 0 < track.period * rate < 1 / 1.1:
        smooth = _smooth(track, rate)
        values = np.where(np.isnan(values), np.nan, np.interp(at, smooth.times, smooth.values))
    return values


def lowpass(values: Doubles, ratio: float) -> Doubles:
    """Remove frequencies above `1 / ratio` of the Nyquist frequency, without delay; NaN stays where it is.

    A windowed sinc (Kaiser, beta 5, ten lobes per side: the filter of `scipy.signal.resample_poly`) is applied to each
    stretch between NaN values, extended at both ends by point reflection, which keeps straight lines straight.
    """
    half = int(np.ceil(10 * ratio))
    taps = np.sinc(np.arange(-half, half + 1) / ratio) * np.kaiser(2 * half + 1, 5.0)
    taps /= taps.sum()
    smooth = np.full_like(values, np.nan)
    for start, stop in _stretches(np.isfinite(values)):
        padded = np.pad(values[start:stop], half, mode="reflect", reflect_type="odd")
        smooth[start:stop] = np.convolve(padded, taps, mode="valid")
    return smooth


def _interpolate(track: Track, at: Doubles) -> Doubles:
    """Interpolate linearly except in gaps; there, use the nearest value up to half a period away, otherwise NaN."""
    times = track.times
    right = np.searchsorted(times, at)
    before, after = np.maximum(right - 1, 0), np.minimum(right, len(times) - 1)
    outside = (right == 0) | (right == len(times))
    loose = outside | (times[after] - times[before] > GAP * track.period)
    values = np.interp(at, times, track.values)
    nearest = np.where(at - times[before] < times[after] - at, before, after)[loose]
    close = np.abs(at[loose] - times[nearest]) <= track.period / 2 * (1 + 1e-6)
    values[loose] = np.where(close, track.values[nearest], np.nan)
    return np.asarray(values)


def _smooth(track: Track, rate: float) -> Track:
    """The track on the regular grid of its own rate, low-pass filtered for the rate `rate`."""
    count = round((track.times[-1] - track.times[0]) / track.period) + 1
    times = track.times[0] + np.arange(count) * track.period
    values = lowpass(_interpolate(track, times), 1 / (track.period * rate))
    known = np.isfinite(values)
    return Track(times[known], values[known])


def _stretches(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First index, and the index after the last, of each run of true values."""
    edges = np.flatnonzero(np.diff(mask, prepend=False, append=False))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
