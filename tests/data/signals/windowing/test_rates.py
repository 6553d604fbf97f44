import numpy as np
import pytest

from fusionlit.data.signals.windowing.config import Windowing
from fusionlit.data.signals.windowing.rates import channel_rates, window_grid
from fusionlit.data.signals.windowing.tracks import Recording, Track
from fusionlit.errors import ConfigError, DataError


def recording(name, **rates):
    tracks = {channel: Track(np.arange(100) / rate, np.zeros(100)) for channel, rate in rates.items()}
    return Recording(name, tracks, np.zeros(1), np.array(["a"]), name)


def rates_of(recordings, given=None, modalities=None):
    return channel_rates(recordings, Windowing(1, "seconds", rates=given), ["x", "y"], modalities or {})


def test_estimated_given_for_a_modality_given_for_a_channel():
    recordings = [recording("a", x=50, y=20)]
    assert rates_of(recordings) == {"x": 50, "y": 20}
    assert rates_of(recordings, {"m": 10.0}, {"m": ["x", "y"]}) == {"x": 10, "y": 10}
    assert rates_of(recordings, {"y": 5.0, "m": 10.0}, {"m": ["x", "y"]}) == {"x": 10, "y": 5}


def test_a_channel_may_be_missing_from_a_recording():
    nothing = Track(np.empty(0), np.empty(0))
    silent = Recording("b", {"x": nothing, "y": nothing}, np.zeros(1), np.array(["a"]), "b")
    assert rates_of([silent, recording("a", x=50, y=20)]) == {"x": 50, "y": 20}
    with pytest.raises(DataError) as error:
        rates_of([silent])
    assert str(error.value) == (
        "b: expected at least two values of channel 'x', but no recording has them. Leave it out of `modalities`."
    )


def test_refuses_a_rate_of_something_else():
    with pytest.raises(ConfigError) as error:
        rates_of([recording("a", x=50, y=20)], {"acc": 1.0}, {"m": ["x"]})
    assert str(error.value) == (
        "Expected `rates` of Windowing to name channels, ['x', 'y'], or modalities, ['m'], but got ['acc']."
    )


@pytest.mark.parametrize(("rate", "step"), [(0.05, "20"), (50_000, "2e-05")])
def test_refuses_a_recording_in_another_time_unit(rate, step):
    with pytest.raises(DataError) as error:
        rates_of([recording("a", x=50, y=20), recording("b", x=rate, y=20), recording("c", x=50, y=20)])
    assert str(error.value) == (
        f"b: expected time stamps of channel 'x' about 0.02 s apart, as in the other recordings, but they are {step} s"
        " apart. Use the same time unit in all files."
    )


def test_grid():
    np.testing.assert_array_equal(window_grid("x", 20.0, 2.56), np.arange(51) / 20)
    np.testing.assert_array_equal(window_grid("x", 49.98, 2.56), np.arange(128) / 49.98)


def test_refuses_a_window_of_one_sample():
    with pytest.raises(ConfigError) as error:
        window_grid("x", 0.05, 2.56)
    assert str(error.value) == (
        "Expected at least 2 samples of every channel in a window, but 2.56 s are 0.128 samples of 'x' at 0.05 Hz."
        " Increase `length`, or correct `time_unit` or `rates`."
    )
