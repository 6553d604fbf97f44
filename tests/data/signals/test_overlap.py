import numpy as np
import pytest

from fusionlit.data.signals.overlap import LEAST, check_overlap, shared_samples
from fusionlit.errors import DataError

SIGNAL = np.random.default_rng(0).integers(0, 3, (2, 500)).astype(np.float32)
"""Coarse values, so that samples agree by chance too."""


def windows(hop, length=32, signal=SIGNAL):
    starts = range(0, signal.shape[1] - length + 1, hop)
    return np.stack([signal[:, start : start + length] for start in starts])


@pytest.mark.parametrize("hop", [1, 8, 16, 24, 25, 32, 40])
def test_shared_samples_are_what_the_hop_leaves(hop):
    x = windows(hop)
    shared = 32 - hop if 32 - hop >= LEAST else 0
    assert (shared_samples(x[:-1], x[1:]) == shared).all()


def test_a_stuck_sensor_does_not_look_like_overlap():
    still = np.zeros((5, 2, 32), np.float32)
    assert not shared_samples(still[:-1], still[1:]).any()
    moving = still.copy()
    moving[:, 0] = windows(40)[:5, 0]
    assert not shared_samples(moving[:-1], moving[1:]).any()


def test_windows_that_share_samples_must_be_on_one_side():
    x = windows(16)
    side = np.array(["train"] * len(x), dtype="<U5")
    check_overlap([x], side)
    side[6:] = "val"
    with pytest.raises(
        DataError,
        match=r"the same split, but 1 pairs are not: windows 5 and 6 share 16 of 32 samples, but are in train",
    ):
        check_overlap([x], side)
    side[6] = ""
    check_overlap([x], side)


@pytest.mark.parametrize("between", ["", "val"])
def test_windows_between_the_sides_do_not_hide_overlap(between):
    x = windows(4)
    side = np.array(["train"] * 50 + [between] + ["test"] * (len(x) - 51), dtype="<U5")
    x[50] = windows(40)[0]  # so that a window of the third side shares nothing with the others
    with pytest.raises(
        DataError, match="1 pairs are not: windows 49 and 51 share 24 of 32 samples, but are in train and test"
    ):
        check_overlap([x], side)
    side[49:57] = ""
    check_overlap([x], side)


def test_windows_are_compared_over_all_modalities_and_in_every_block(monkeypatch):
    x = windows(16)
    parts, side = [x[:, :1], x[:, 1:]], np.array(["train", "val"] * (len(x) // 2), dtype="<U5")
    monkeypatch.setattr("fusionlit.storage.rows.BLOCK", 3 * x[0].nbytes)
    with pytest.raises(
        DataError, match=f"the same split, but {len(side) - 1} pairs are not: windows 0 and 1 share 16 of 32"
    ):
        check_overlap(parts, side)
    x[1::2, 1] += 10
    check_overlap(parts, side)


def test_samples_that_are_missing_are_shared_too():
    x = windows(16).copy()
    x[:, 1] = np.nan
    x[5, 0, -3] = x[6, 0, -19] = np.nan
    side = np.array(["train"] * 6 + ["val"] * (len(x) - 6), dtype="<U5")
    with pytest.raises(DataError, match="windows 5 and 6 share 16 of 32 samples"):
        check_overlap([x], side)
    x[:, 0] = np.nan
    check_overlap([x], side)


def test_a_flat_stretch_at_the_seam_is_not_taken_for_overlap():
    x = windows(40)[:2].copy()
    x[0, :, -16:] = x[1, :, :16] = 0
    assert not shared_samples(x[:1], x[1:]).any()
