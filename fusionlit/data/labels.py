"""Encoding of labels, text or numbers, as classes numbered from 0 with a name each."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusionlit.errors import DataError

MISSING = ("", "?", "nan")
"""Texts, in upper or lower case, that mean a missing label."""


def encode(labels: NDArray[Any], source: str, names: Sequence[str] = ()) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Classes from 0, in sorted order (numbers by value), and the class names.

    Args:
        labels: Labels `(n,)`, text or whole numbers; numbers may start anywhere.
        source: File and field, for messages.
        names: Class names, if the source has them: text labels must be among them, numeric labels count them from 0 or
            from 1. By default, classes are named after their labels.

    Raises:
        DataError: If a label is missing, not a whole number, or does not match the names, or names are not unique.
    """
    if len(set(names)) < len(names):
        raise DataError(f"{source}: expected unique class names, but got {list(names)}. Give each class its own name.")
    labels = _clean(np.asarray(labels), source)
    if not names:
        values, target = np.unique(labels, return_inverse=True)
        return target.reshape(-1).astype(np.int64), tuple(str(value) for value in values)
    if labels.dtype.kind == "U":
        position = {name: i for i, name in enumerate(names)}
        if unknown := sorted(set(labels.tolist()) - set(position)):
            raise DataError(f"{source}: expected labels among {list(names)}, but got {unknown}. Correct the labels.")
        return np.array([position[label] for label in labels.tolist()], np.int64), tuple(names)
    low, high = (int(labels.min()), int(labels.max())) if len(labels) else (0, 0)
    first = 0 if low == 0 else 1
    if low < 0 or high - first >= len(names):
        raise DataError(
            f"{source}: expected labels that count the {len(names)} classes from 0 or from 1, but got labels from"
            f" {low} to {high}. Correct the labels or the class names."
        )
    if low > 0 and high < len(names):
        raise DataError(
            f"{source}: expected labels that show whether the {len(names)} classes are counted from 0 or from 1, but"
            f" got labels from {low} to {high}. Use the class names as labels."
        )
    return labels.astype(np.int64) - first, tuple(names)


def decode(labels: NDArray[Any], source: str) -> NDArray[Any]:
    """Decode bytes to text; anything else is returned unchanged.

    Raises:
        DataError: If the bytes are not UTF-8.
    """
    if labels.dtype.kind != "S":
        return labels
    try:
        return np.char.decode(labels, "utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{source}: expected text in UTF-8, but got {error.object!r} in another encoding. Decode it, and save it as"
            " text (`.astype(str)`)."
        ) from error


def _clean(labels: NDArray[Any], source: str) -> NDArray[Any]:
    """Labels as stripped text or whole numbers, after a check that none is missing."""
    labels = decode(labels, source)
    if labels.dtype.kind == "U":
        labels = np.char.strip(labels)
        missing = np.isin(np.char.lower(labels), MISSING)
    elif labels.dtype.kind in "fiub":
        missing = np.isnan(labels.astype(np.float64))
    else:
        raise DataError(f"{source}: expected labels as text or whole numbers, but got {labels.dtype}.")
    if missing.any():
        raise DataError(
            f"{source}: {int(missing.sum())} of {len(labels)} labels are missing, the first at window"
            f" {int(missing.argmax())}. Add these labels, or remove these windows."
        )
    if labels.dtype.kind in "fb":
        whole = labels.astype(np.int64)
        if (whole != labels).any():
            wrong = labels[whole != labels][0]
            raise DataError(f"{source}: expected labels as text or whole numbers, but got {wrong:g}.")
        return whole
    return labels
