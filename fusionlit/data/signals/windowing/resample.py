"""A channel with time stamps of its own, onto the regular grid of a rate."""

import numpy as np
from numpy.typing import NDArray

from fusionlit.data.signals.windowing.tracks import Doubles, Track

GAP = 2.5
"""Steps of more sampling periods than this are gaps: one lost sample is none, two are."""


def resample(track: Track, at: Doubles, rate: float) -> Doubles:
    """Values at the given times, interpolated linearly; NaN in gaps.

    Where the track's own rate is above 1.1 `rate`, a low-pass filter at half of `rate` keeps out what would alias. Near
    a gap and at the ends, the value of a time stamp is kept for half a sampling period.

    Args:
        track: The channel.
        at: Times (s) in any shape.
        rate: Samples per second (Hz) of the grid that `at` is taken from.
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

    A windowed sinc (Kaiser, beta 5, ten lobes a side: the filter of `scipy.signal.resample_poly`) runs over each
    stretch between NaN, continued at both ends by reflection in its end point, which leaves straight lines straight.
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
    """Linear over steps that are no gaps; elsewhere the nearest value up to half a period away, then NaN."""
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
    """The track on the regular grid of its own rate, filtered for another."""
    count = round((track.times[-1] - track.times[0]) / track.period) + 1
    times = track.times[0] + np.arange(count) * track.period
    values = lowpass(_interpolate(track, times), 1 / (track.period * rate))
    there = np.isfinite(values)
    return Track(times[there], values[there])


def _stretches(there: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First index, and the index after the last, of each run of true."""
    edges = np.flatnonzero(np.diff(there, prepend=False, append=False))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
