import numpy as np
import pytest
from scipy.signal import resample_poly

from fusionlit.data.signals.windowing.resample import lowpass, resample
from fusionlit.data.signals.windowing.tracks import Track


def jittered(rate, seconds, f, seed=0, jitter=0.2):
    rng = np.random.default_rng(seed)
    times = (np.arange(round(seconds * rate)) + rng.uniform(-jitter, jitter, round(seconds * rate))) / rate
    return Track(times, f(times))


@pytest.mark.parametrize("rate", [20.0, 50.0, 100.0])
def test_jittered_sine_comes_back_within_the_bound_of_linear_interpolation(rate):
    # |error| <= max step^2 / 8 * max |f''|
    track = jittered(rate, 20, lambda t: np.sin(2 * np.pi * t))
    at = np.arange(1, 19, 1 / rate)
    error = np.abs(resample(track, at, rate) - np.sin(2 * np.pi * at)).max()
    assert error <= np.diff(track.times).max() ** 2 / 8 * (2 * np.pi) ** 2
    assert error > 0


def test_equals_numpy_where_there_are_no_gaps():
    track = jittered(50, 10, np.cos)
    at = np.random.default_rng(1).uniform(0.1, 9.9, (7, 31))
    np.testing.assert_array_equal(resample(track, at, 50.0), np.interp(at, track.times, track.values))


def test_regular_samples_come_back_bit_by_bit():
    times = 1000 + np.arange(200) / 50
    values = np.random.default_rng(0).normal(size=200)
    np.testing.assert_array_equal(resample(Track(times, values), times, 50.0), values)


@pytest.mark.parametrize("origin", [0.0, 3600.0])
def test_gap_is_missing_where_samples_are_lost_and_only_there(origin):
    times = origin + np.arange(100) / 50
    lost = np.zeros(100, bool)
    lost[[20, 40, 41, 60, 61, 62, 63]] = True
    track = Track(times[~lost], times[~lost])
    # One lost sample (a step of 2 periods) is no gap.
    expected = lost.copy()
    expected[20] = False
    values = resample(track, times, 50.0)
    np.testing.assert_array_equal(np.isnan(values), expected)
    np.testing.assert_allclose(values[~expected], times[~expected], atol=1e-9)


def test_near_a_gap_and_at_the_ends_a_sample_speaks_for_half_a_period():
    track = Track(np.r_[np.arange(10.0), np.arange(20.0, 30.0)], np.arange(20.0))
    at = np.array([-0.6, -0.4, 9.4, 9.6, 15.0, 19.4, 19.6, 29.4, 29.6])
    expected = [np.nan, 0, 9, np.nan, np.nan, np.nan, 10, 19, np.nan]
    np.testing.assert_array_equal(resample(track, at, 1.0), expected)


def test_a_track_without_samples_is_missing():
    assert np.isnan(resample(Track(np.empty(0), np.empty(0)), np.arange(4.0), 1.0)).all()


def test_a_single_sample_is_kept_at_its_time():
    values = resample(Track(np.array([2.0]), np.array([7.0])), np.arange(4.0), 1.0)
    np.testing.assert_array_equal(values, [np.nan, np.nan, 7, np.nan])


@pytest.mark.parametrize("down", [2, 4, 5])
def test_lowpass_is_the_filter_of_scipy(down):
    values = np.random.default_rng(0).normal(size=1000)
    inside = slice(20, -20)
    expected = resample_poly(values, 1, down)
    np.testing.assert_allclose(lowpass(values, down)[::down][inside], expected[inside], atol=1e-12)


def test_lowpass_leaves_lines_straight_up_to_gaps():
    values = 3 + 0.5 * np.arange(300.0)
    values[100:110] = np.nan
    np.testing.assert_allclose(lowpass(values, 3.0), values, rtol=1e-12)


def test_going_down_in_rate_keeps_what_fits_and_removes_what_would_alias():
    at = np.arange(2, 18, 1 / 20)
    # On a grid of 20 Hz, 18 Hz would look like 2 Hz.
    low = resample(jittered(100, 20, lambda t: np.sin(2 * np.pi * 2 * t), jitter=0), at, 20.0)
    high = resample(jittered(100, 20, lambda t: np.sin(2 * np.pi * 18 * t), jitter=0), at, 20.0)
    assert np.abs(low - np.sin(2 * np.pi * 2 * at)).max() < 0.01
    assert np.abs(high).max() < 0.01
    unfiltered = np.interp(at, np.arange(2000) / 100, np.sin(2 * np.pi * 18 * np.arange(2000) / 100))
    assert np.abs(unfiltered).max() > 0.9


def test_going_down_in_rate_keeps_gaps_where_they_are():
    times = np.arange(1000) / 100
    lost = (times >= 4) & (times < 6)
    at = np.arange(0, 9.9, 1 / 20)
    values = resample(Track(times[~lost], times[~lost]), at, 20.0)
    np.testing.assert_array_equal(np.isnan(values), (at > 3.996) & (at < 5.994))
    np.testing.assert_allclose(values[~np.isnan(values)], at[~np.isnan(values)], atol=1e-9)
