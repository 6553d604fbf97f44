import re
from pathlib import Path

import numpy as np
import pytest

from fusionlit.data.signals.windowing.config import Windowing
from fusionlit.data.signals.windowing.cut import cut, window_labels, window_starts
from fusionlit.data.signals.windowing.rates import window_grid
from fusionlit.data.signals.windowing.tracks import Recording, Track
from fusionlit.errors import DataError

ROOT = Path("recordings")


def track(rate, start, stop):
    """Samples whose values are their times, in `[start, stop)` s."""
    times = start + np.arange(round((stop - start) * rate)) / rate
    return Track(times, times)


def recording(tracks, labels=None, name="r", official=None):
    times = np.sort(np.concatenate([one.times for one in tracks.values()]))
    labels = np.full(len(times), "a") if labels is None else labels(times)
    return Recording(name, tracks, times, labels, name, official)


def cut_all(*recordings, **windowing):
    arguments = {"length": 1, "unit": "seconds"} | windowing
    return cut(ROOT, list(recordings), Windowing(**arguments), dict.fromkeys(recordings[0].tracks, ""), {})


@pytest.mark.parametrize("rows", [50, 99, 100, 101, 149, 150, 1000])
@pytest.mark.parametrize("hop", [1, 10, 25, 50, 70])
def test_number_of_windows(rows, hop):
    windows = cut_all(recording({"x": track(50, 0, rows / 50)}), length=50, hop=hop, unit="samples")
    assert len(windows) == (rows - 50) // hop + 1
    expected = (hop * np.arange(len(windows))[:, None] + np.arange(50)) / 50
    np.testing.assert_allclose(windows.channels["x"].values, expected, atol=1e-5)
    assert windows.overlapping == (hop < 50)


def test_hop_that_is_no_multiple_of_any_period():
    windows = cut_all(recording({"x": track(50, 0, 20), "y": track(20, 0, 20)}), length=2.56, hop=0.777)
    starts = 0.777 * np.arange(len(windows))[:, None]
    np.testing.assert_allclose(windows.channels["x"].values, starts + np.arange(128) / 50, atol=1e-5)
    np.testing.assert_allclose(windows.channels["y"].values, starts + np.arange(51) / 20, atol=1e-5)


def test_span_all_cuts_while_every_sensor_runs_and_any_while_some_does():
    tracks = {"x": track(50, 0.0, 10), "y": track(20, 0.5, 9.6)}
    windows = cut_all(recording(tracks))
    assert len(windows) == 9
    assert windows.left_out == {"not all sensors run": 1}
    np.testing.assert_allclose(windows.channels["x"].values[:, 0], 0.5 + np.arange(9), atol=1e-5)
    windows = cut_all(recording(tracks), span="any")
    assert (len(windows), windows.left_out) == (10, {})
    assert not np.isnan(windows.channels["x"].values).any()
    # Half a period (0.025 s) around the first and last stamp (0.5 s and 9.55 s) belongs to the sensor.
    at = np.arange(10)[:, None] + np.arange(20) / 20
    np.testing.assert_array_equal(np.isnan(windows.channels["y"].values), (at < 0.475) | (at > 9.575))


def test_a_sensor_that_stops_early_is_told():
    fine, broken = ({"x": track(50, 0, 10), "y": track(50, 0, stop)} for stop in (10, 6))
    message = (
        "recordings: in 1 of 2 recordings some sensor starts later or stops earlier than the others by more than a"
        " window; the windows without it are left out: broken. `span: any` keeps them, with missing"
        " values."
    )
    with pytest.warns(UserWarning, match=f"^{re.escape(message)}$"):
        windows = cut_all(recording(fine, name="fine"), recording(broken, name="broken"))
    assert windows.left_out == {"not all sensors run": 4}
    assert len(windows) == 16


def test_a_sensor_that_a_recording_lacks_is_missing_from_its_windows():
    silent = {"x": track(50, 0, 3), "y": Track(np.empty(0), np.empty(0))}
    windows = cut_all(recording({"x": track(50, 0, 2), "y": track(20, 0, 2)}), recording(silent, name="silent"))
    missing = np.isnan(windows.channels["y"].values)
    assert windows.group.tolist() == ["r", "r", "silent", "silent", "silent"]
    assert missing.all(1).tolist() == [False, False, True, True, True]
    assert missing.any(1).tolist() == [False, False, True, True, True]


def test_windows_over_a_change_of_label_or_without_label_are_left_out():
    # By the definition: the rows of [k/2, k/2 + 1) have one label.
    def labels(times):
        return np.select([times < 2.7, times < 5, (times > 6.1) & (times < 6.15)], ["walk", "sit", ""], "stand")

    one = recording({"x": track(50, 0, 10)}, labels)
    windows = cut_all(one, hop=0.5)
    rows = [set(one.labels[(one.times >= k / 2 - 1e-6) & (one.times < k / 2 + 1 - 1e-6)]) for k in range(19)]
    kept = [k for k in range(19) if len(rows[k]) == 1 and rows[k] != {""}]
    np.testing.assert_allclose(windows.channels["x"].values[:, 0], np.array(kept) / 2, atol=1e-5)
    assert [windows.classes[k] for k in windows.target] == [next(iter(rows[k])) for k in kept]
    unlabeled = sum("" in row for row in rows)
    assert windows.left_out == {"not labeled": unlabeled, "label changes": 19 - len(kept) - unlabeled}


def test_labels_that_change_from_window_to_window_lose_none_to_rounding():
    def labels(times):
        return np.array([str(round(10 * t) // 7) for t in times])

    windows = cut_all(recording({"x": track(10, 0, 210)}, labels), length=0.7)
    assert windows.target.tolist() == list(range(300))


def test_a_window_without_rows_has_no_label():
    times = np.r_[np.arange(100) / 50, 5 + np.arange(100) / 50]
    _, unlabeled, changes = window_labels(
        recording({"x": Track(times, times)}), np.arange(6.5, step=0.5), 1.0, tolerance=1e-5
    )
    assert np.flatnonzero(unlabeled).tolist() == [4, 5, 6, 7, 8]
    assert not changes.any()


def test_numbers_as_labels_keep_their_order():
    windows = cut_all(*(recording({"x": track(10, 0, 2)}, lambda t, k=k: np.full(len(t), str(k))) for k in (10, 9, 2)))
    assert windows.classes == ("2", "9", "10")
    assert windows.target.tolist() == [2, 2, 1, 1, 0, 0]


def test_official_split_per_window():
    tracks = {"x": track(10, 0, 2)}
    windows = cut_all(recording(tracks, official="test"), recording(tracks, official="train", name="s"))
    assert windows.official.tolist() == ["test", "test", "train", "train"]


def test_gaps_stay_missing():
    times = np.arange(200) / 50
    kept = ~np.isin(np.arange(200), [60, 61, 62])
    one = recording({"x": Track(times[kept], times[kept])})
    values = cut_all(one).channels["x"].values
    assert np.flatnonzero(np.isnan(values)).tolist() == [60, 61, 62]


def test_short_recordings_are_told():
    message = "recordings: left out 1 of 2 recordings that are shorter than a window (1 s): short."
    with pytest.warns(UserWarning, match=f"^{re.escape(message)}$"):
        windows = cut_all(recording({"x": track(50, 0, 2)}), recording({"x": track(50, 0, 0.9)}, name="short"))
    assert windows.left_out == {"recording too short": 1}
    assert len(windows) == 2


def test_refuses_to_leave_nothing():
    with pytest.raises(DataError) as error:
        cut_all(recording({"x": track(50, 0, 5)}), recording({"x": track(50, 0, 3)}), length=10)
    assert str(error.value) == (
        "recordings: expected windows of 10 s, but none is left (recording too short: 2). The longest recording lasts"
        " 4.98 s. Decrease `length`, label the rows, or correct `time_unit`."
    )
    with pytest.raises(DataError, match=r"none is left \(not labeled: 5\)"):
        cut_all(recording({"x": track(50, 0, 5)}, lambda times: np.full(len(times), "")))


def test_no_window_starts_in_a_recording_without_samples():
    nothing = Recording("r", {"x": Track(np.empty(0), np.empty(0))}, np.zeros(1), np.array(["a"]), "r")
    starts, lost = window_starts(nothing, {"x": window_grid("x", 50.0, 1.0)}, 1.0, "all")
    assert (len(starts), lost) == (0, 0)


def test_jittered_clocks_lose_no_window_and_no_sample():
    rng = np.random.default_rng(0)
    for _ in range(20):
        tracks = {
            name: Track(times := (np.arange(rows) + rng.uniform(-0.2, 0.2, rows)) / rate, times)
            for name, rate, rows in (("x", 50, 505), ("y", 20, 202))
        }
        windows = cut_all(recording(tracks))
        assert len(windows) == 10
        assert not any(np.isnan(channel.values).any() for channel in windows.channels.values())
