import warnings

import numpy as np
import pytest
import torch

from fusionlit.data.signals.suspects import check_classes, leave_out_empty, warn_of_channels
from fusionlit.errors import DataError

GOOD = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


def test_good_channels_give_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_channels("set", {"a": GOOD, "b": -GOOD})


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
    with pytest.warns(UserWarning, match=f"set: {message}"):
        warn_of_channels("set", {"a": GOOD, "b": values})


def test_windows_without_any_modality_are_left_out():
    presence = {"a": np.array([True, False, False]), "b": np.array([False, True, False])}
    side = np.array(["train", "val", "train"], dtype="<U5")
    with pytest.warns(UserWarning, match="Left out 1 windows .* window 2"):
        leave_out_empty(presence, side)
    assert side.tolist() == ["train", "val", ""]


def test_a_class_must_be_in_training_and_should_be_elsewhere():
    target, empty = torch.tensor([0, 0, 2]), torch.tensor([], dtype=torch.int64)
    with pytest.raises(DataError, match=r"The train split has no window of the classes \['b'\]"):
        check_classes("train", target, "abc")
    with pytest.warns(UserWarning, match=r"The test split has no window of the classes \['b'\]"):
        check_classes("test", target, "abc")
    check_classes("test", empty, "abc")
