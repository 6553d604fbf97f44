"""What may be but looks wrong: channels stuck or equal, windows empty or on two sides."""

from collections.abc import Mapping
from hashlib import blake2b
from itertools import combinations

import numpy as np
from lightning.pytorch.utilities import rank_zero_warn
from numpy.typing import NDArray

from fusionlit.data.signals.windows import Floats
from fusionlit.types import SPLITS


def odd_channels(channels: Mapping[str, Floats]) -> list[str]:
    """A line on each channel that is constant, or equal to another in every window (a stuck or a miswired sensor)."""
    lines: list[str] = []
    first: dict[int, list[str]] = {}
    for name, values in channels.items():
        there = values[~np.isnan(values)]
        if not there.size or there.min() == there.max():
            what = f"is {there[0]:g} in every sample" if there.size else "has no values at all"
            lines.append(f"channel {name!r} {what}, as of a sensor that is stuck. Leave it out.")
            continue
        alike = first.setdefault(hash(values.tobytes()), [])
        for other in alike:
            if np.array_equal(channels[other], values, equal_nan=True):
                lines.append(
                    f"channels {other!r} and {name!r} are equal in every window. Leave one out, unless they are meant"
                    " to be."
                )
        alike.append(name)
    return lines


def window_keys(channels: Mapping[str, Floats]) -> NDArray[np.uint64]:
    """A number for each window, `(n,)`, that is equal where windows are equal in all channels.

    A window in which no channel changes may well repeat (a device at rest), and has the number 0.

    Args:
        channels: `(n, time)` by name.
    """
    # Of the least and the largest value, NaN aside: all NaN compares as false.
    moves = np.any([np.fmin.reduce(x, axis=1) < np.fmax.reduce(x, axis=1) for x in channels.values()], axis=0)
    windows = (b"".join(map(np.ndarray.tobytes, rows)) for rows in zip(*channels.values(), strict=True))
    digests = b"".join(blake2b(window, digest_size=8).digest() for window in windows)
    return np.where(moves, np.frombuffer(digests, "<u8"), 0).astype(np.uint64)


def warn_of_copies(source: str, keys: NDArray[np.uint64], side: NDArray[np.str_]) -> None:
    """Warn of windows on two sides of a split that are equal in all channels.

    Args:
        source: For messages.
        keys: `(n,)` numbers by `window_keys`.
        side: `(n,)` split of each window; empty where it is not used.
    """
    for first, second in combinations(SPLITS, 2):
        one, other = (np.flatnonzero((keys != 0) & (side == split)) for split in (first, second))
        common, at_one, at_other = np.intersect1d(keys[one], keys[other], return_indices=True)
        if len(common):
            i = int(at_one.argmin())
            rank_zero_warn(
                f"{source}: {int(np.isin(keys[other], common).sum())} of {int((side == second).sum())} windows of the"
                f" {second} split are equal to windows of the {first} split in every channel, as windows"
                f" {other[at_other[i]]} ({second}) and {one[at_one[i]]} ({first}). If they are copies, the metrics"
                " measure memory: remove them, or say in the data which windows belong together (subject, recording)."
            )


def leave_out_empty(presence: dict[str, NDArray[np.bool_]], side: NDArray[np.str_]) -> None:
    """Take windows in which every modality is absent out of their splits, with a warning.

    Args:
        presence: `(n,)` by modality.
        side: `(n,)` split of each window; changed in place.
    """
    empty = ~np.any(list(presence.values()), axis=0) if presence else np.zeros(len(side), np.bool_)
    if empty.any():
        side[empty] = ""
        rank_zero_warn(
            f"Left out {int(empty.sum())} windows in which every modality is absent, the first of them window"
            f" {int(empty.argmax())}."
        )
