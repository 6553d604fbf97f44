import numpy as np
import pytest

from fusionlit.data.signals.windowing.tracks import Track, estimate_rate


@pytest.mark.parametrize("rate", [1000.0, 128.0, 64.0, 60.0, 50.0, 18.6, 1.0, 1 / 60])
def test_rate_survives_stamps_in_whole_milliseconds(rate):
    times = np.round(np.arange(2000) / rate, 3)
    assert estimate_rate(np.diff(times)) == pytest.approx(rate, rel=1e-3)


@pytest.mark.parametrize("rate", [100.0, 50.0, 20.0, 12.5, 256.0])
def test_rate_is_exact_under_jitter_and_lost_samples(rate):
    rng = np.random.default_rng(0)
    times = (np.arange(2000) + rng.uniform(-0.1, 0.1, 2000)) / rate
    lost = rng.random(2000) < 0.1
    lost[500:700] = True
    assert estimate_rate(np.diff(times[~lost])) == rate


def test_rate_of_two_steps_far_apart_is_that_of_the_shorter():
    assert estimate_rate(np.array([20.0, 0.02])) == 50


def test_period_of_a_track():
    assert Track(np.arange(5) / 50, np.zeros(5)).period == 1 / 50
    assert Track(np.array([3.0]), np.zeros(1)).period == 0
