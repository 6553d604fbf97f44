"""Warnings about suspicious data: constant or equal channels, empty windows, equal windows in different splits."""

from collections.abc import Mapping
from hashlib import blake2b
from itertools import combinations

import numpy as np
from lightning.pytorch.utilities import rank_zero_warn
from numpy.typing import NDArray

from fusionlit.data.signals.windows import Floats
from fusionlit.types import SPLITS


def odd_channels(channels: Mapping[str, Floats]) -> list[str]:
    """One line per channel that is constant, or equal to another in every window (a stuck or miswired sensor)."""
    lines: list[str] = []
    first: dict[int, list[str]] = {}
    for name, values in channels.items():
        known = values[~np.isnan(values)]
        if not known.size or known.min() == known.max():
            what = f"is {known[0]:g} in every sample" if known.size else "has no values at all"
            lines.append(f"channel {name!r} {what}, as if the sensor were stuck. Leave it out.")
            continue
        alike = first.setdefault(hash(values.tobytes()), [])
        for other in alike:
            if np.array_equal(channels[other], values, equal_nan=True):
                lines.append(
                    f"channels {other!r} and {name!r} are equal in every window. Leave one out, unless this is"
                    " intended."
                )
        alike.append(name)
    return lines


def window_keys(channels: Mapping[str, Floats]) -> NDArray[np.uint64]:
    """A number for each window, `(n,)`, equal for windows that are equal in all channels.

    Windows in which no channel changes may well repeat (a device at rest), and have the number 0.

    Args:
        channels: Values `(n, time)` by name.
    """
    # Compares the smallest and largest value, ignoring NaN; if all are NaN, the comparison is false.
    moves = np.any([np.fmin.reduce(x, axis=1) < np.fmax.reduce(x, axis=1) for x in channels.values()], axis=0)
    windows = (b"".join(map(np.ndarray.tobytes, rows)) for rows in zip(*channels.values(), strict=True))
    digests = b"".join(blake2b(window, digest_size=8).digest() for window in windows)
    return np.where(moves, np.frombuffer(digests, "<u8"), 0).astype(np.uint64)


def warn_of_duplicates(source: str, keys: NDArray[np.uint64], side: NDArray[np.str_]) -> None:
    """Warn of windows in different splits that are equal in all channels.

    Args:
        source: Name of the source, for messages.
        keys: Numbers `(n,)` from `window_keys`.
        side: Split of each window, `(n,)`; empty for unused windows.
    """
    for first, second in combinations(SPLITS, 2):
        one, other = (np.flatnonzero((keys != 0) & (side == split)) for split in (first, second))
        common, at_one, at_other = np.intersect1d(keys[one], keys[other], return_indices=True)
        if len(common):
            i = int(at_one.argmin())
            rank_zero_warn(
                f"{source}: {int(np.isin(keys[other], common).sum())} of {int((side == second).sum())} windows of the"
                f" {second} split are equal to windows of the {first} split in every channel, such as windows"
                f" {other[at_other[i]]} ({second}) and {one[at_one[i]]} ({first}). If they are copies, the metrics"
                " measure memorisation: remove them, or add groups to the data (subject, recording)."
            )


def leave_out_empty(presence: dict[str, NDArray[np.bool_]], side: NDArray[np.str_]) -> None:
    """Remove windows without any modality from their splits, with a warning.

    Args:
        presence: Presence masks `(n,)` by modality.
        side: Split of each window, `(n,)`; changed in place.
    """
    empty = ~np.any(list(presence.values()), axis=0) if presence else np.zeros(len(side), np.bool_)
    if empty.any():
        side[empty] = ""
        rank_zero_warn(
            f"Left out {int(empty.sum())} windows in which every modality is missing; the first is window"
            f" {int(empty.argmax())}."
        )
