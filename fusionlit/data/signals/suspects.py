"""What may be but looks wrong: channels that never change or repeat another, empty windows, splits without a class."""

from collections.abc import Sequence

import numpy as np
from lightning.pytorch.utilities import rank_zero_warn
from numpy.typing import NDArray
from torch import Tensor

from fusionlit.data.signals.windows import Floats
from fusionlit.errors import DataError
from fusionlit.types import Split


def warn_of_channels(source: str, channels: dict[str, Floats]) -> None:
    """Warn of channels that are constant, or equal to another in every window (a stuck or a miswired sensor)."""
    first: dict[int, list[str]] = {}
    for name, values in channels.items():
        there = values[~np.isnan(values)]
        if not there.size or there.min() == there.max():
            what = f"is {there[0]:g} in every sample" if there.size else "has no values at all"
            rank_zero_warn(f"{source}: channel {name!r} {what}, as of a sensor that is stuck. Leave it out.")
            continue
        alike = first.setdefault(hash(values.tobytes()), [])
        for other in alike:
            if np.array_equal(channels[other], values, equal_nan=True):
                rank_zero_warn(
                    f"{source}: channels {other!r} and {name!r} are equal in every window. Leave one out, unless they"
                    " are meant to be."
                )
        alike.append(name)


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


def check_classes(split: Split, target: Tensor, classes: Sequence[str]) -> None:
    """Refuse a training split that lacks a class, and warn of another that does; an empty split is no matter here.

    Raises:
        DataError: If nothing could be learned of a class.
    """
    counts = target.bincount(minlength=len(classes)).tolist()
    lacking = [name for name, count in zip(classes, counts, strict=True) if not count]
    if not lacking or not len(target):
        return
    if split == "train":
        raise DataError(f"The train split has no window of the classes {lacking}. Choose another `split` or seed.")
    rank_zero_warn(f"The {split} split has no window of the classes {lacking}: its metrics say nothing of them.")
