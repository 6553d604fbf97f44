import re
import warnings

import numpy as np
import pytest

from fusionlit.data.signals.suspects import leave_out_empty, odd_channels, warn_of_duplicates, window_keys

GOOD = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


def test_good_channels_are_not_odd():
    assert odd_channels({"a": GOOD, "b": -GOOD}) == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full((3, 4), 2.5, np.float32), r"channel 'b' is 2\.5 in every sample"),
        (np.float32([[1, np.nan], [np.nan, 1]]), "channel 'b' is 1 in every sample"),
        (np.full((3, 4), np.nan, np.float32), "channel 'b' has no values at all"),
        (GOOD.copy(), "channels 'a' and 'b' are equal in every window"),
    ],
)
def test_stuck_and_repeated_channels_are_named(values, message):
    (line,) = odd_channels({"a": GOOD, "b": values})
    assert re.match(message, line)


def copies(x, side):
    """Messages of `warn_of_duplicates` on windows `(n, channels, time)`."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        keys = window_keys({str(i): x[:, i] for i in range(x.shape[1])})
        warn_of_duplicates("set", keys, np.array(side, dtype="<U5"))
    return [str(warning.message) for warning in caught]


def test_copies_on_two_sides_are_counted_with_an_example():
    x = np.random.default_rng(0).normal(size=(8, 2, 4)).astype(np.float32)
    side = ["train"] * 3 + ["val"] + ["test"] * 3 + [""]
    assert copies(x, side) == []
    x[5] = x[6] = x[1]
    x[7] = x[3]  # not used
    x[2, 0] = x[3, 0]  # equal in one channel of two
    x[1, 0, 0] = x[5, 0, 0] = x[6, 0, 0] = np.nan
    assert copies(x, side) == [
        "set: 2 of 3 windows of the test split are equal to windows of the train split in every channel, such as"
        " windows 5 (test) and 1 (train). If they are copies, the metrics measure memorisation: remove them, or add"
        " groups to the data (subject, recording)."
    ]
    side[1] = "val"
    assert [text[:70] for text in copies(x, side)] == [
        "set: 2 of 3 windows of the test split are equal to windows of the val "
    ]


def test_windows_in_which_nothing_moves_may_repeat():
    x = np.ones((6, 2, 4), np.float32)
    x[:, 1] = np.nan
    x[:, 0, 1] = np.nan
    assert copies(x, ["train"] * 3 + ["test"] * 3) == []
    x[:, 1, 2:] = [3, 4]
    assert len(copies(x, ["train"] * 3 + ["test"] * 3)) == 1


def test_windows_without_any_modality_are_left_out():
    presence = {"a": np.array([True, False, False]), "b": np.array([False, True, False])}
    side = np.array(["train", "val", "train"], dtype="<U5")
    with pytest.warns(UserWarning, match="Left out 1 windows .* window 2"):
        leave_out_empty(presence, side)
    assert side.tolist() == ["train", "val", ""]
