from itertools import groupby

import numpy as np
import pytest

from fusionlit.data.signals.gaps import Filled, check_complete, check_finite, check_policy, fill_gaps, run_lengths
from fusionlit.errors import ConfigError, DataError

NAN = np.nan


def test_run_lengths_are_those_of_groupby():
    flags = np.random.default_rng(0).random((50, 20)) < 0.5
    for row in flags:
        runs = [len(list(run)) for _, run in groupby(row)]
        assert run_lengths(row).tolist() == [length for length in runs for _ in range(length)]


@pytest.mark.parametrize(
    ("window", "max_gap", "expected"),
    [
        ([0, NAN, 2, NAN, NAN, 5], 1, [0, 1, 2, NAN, NAN, 5]),
        ([0, NAN, 2, NAN, NAN, 5], 2, [0, 1, 2, 3, 4, 5]),
        ([NAN, 3, 4, NAN, NAN, NAN], 1, [3, 3, 4, NAN, NAN, NAN]),
        ([NAN, 3, 4, NAN], 1, [3, 3, 4, 4]),
        ([NAN, NAN, NAN], 9, [NAN, NAN, NAN]),
        ([1, NAN, 2], 0, [1, NAN, 2]),
    ],
)
def test_gaps_are_filled_up_to_their_longest(window, max_gap, expected):
    other = [7.0] * len(window)
    values = np.float32([window, other])
    before = values.copy()
    np.testing.assert_array_equal(fill_gaps(values, max_gap), np.float32([expected, other]))
    np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize("max_gap", [0, 2])
def test_gathered_windows_are_filled_as_each_channel_alone_is(max_gap):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(20, 3, 9)).astype(np.float32)
    values[rng.random(values.shape) < 0.05] = NAN
    values[5, 1, 2:7] = NAN
    before = values.copy()
    expected = np.stack([fill_gaps(values[:, c], max_gap) for c in range(3)], axis=1)
    filled, rows = Filled(values, max_gap), np.array([7, 3, 3, 19])
    np.testing.assert_array_equal(filled.fill(rows), expected[rows])
    np.testing.assert_array_equal(filled.missing(np.isnan(values).any((1, 2))), np.isnan(expected).sum(2))
    lacking = np.isnan(expected).any((1, 2))
    assert 0 < lacking.sum() < 20
    expected[lacking] = 0
    np.testing.assert_array_equal(filled[np.arange(20)], expected)
    np.testing.assert_array_equal(values, before)


def test_what_is_missing_is_told_by_channel_window_and_count():
    with pytest.raises(DataError) as error:
        check_complete("set", {"good": np.zeros(4, int), "bad": np.array([0, 2, 0, 1])}, 0)
    assert str(error.value).startswith(
        "set: values are missing:\n  channel 'bad': 3 values in 2 windows (the first is window 1, with 2)\nFill them"
    )


def test_the_longest_gap_and_further_channels_are_told():
    with pytest.raises(DataError, match=r"longer than `max_gap` \(2 samples\):(.|\n)*\.\.\. and 2 more channels"):
        check_complete("set", dict.fromkeys("abcdefghijkl", np.array([3])), 2)


def test_infinite_values_are_refused():
    values = np.zeros((4, 3), np.float32)
    values[2, 1] = -np.inf
    with pytest.raises(
        DataError, match=r"set: expected finite values, but channel 'b' has 1 infinite values, .* window 2"
    ):
        check_finite("set", {"b": values})


@pytest.mark.parametrize(("on_missing", "max_gap"), [("error", 1), ("interpolate", 0), ("mask", -1)])
def test_a_policy_that_does_not_fit_is_refused(on_missing, max_gap):
    with pytest.raises(ConfigError, match=f"but got on_missing='{on_missing}', max_gap={max_gap}"):
        check_policy(on_missing, max_gap)
