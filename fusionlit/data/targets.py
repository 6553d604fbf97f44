"""Conversion of labels or numbers to prediction targets, with checks of their values."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from fusionlit.data.assignment import some
from fusionlit.data.labels import encode
from fusionlit.errors import ConfigError, DataError
from fusionlit.storage.npz import Array
from fusionlit.types import TargetKind, TargetSpec

_EXPECTED = {
    "multiclass": "labels (n,) of two or more classes, whole numbers from 0 up or text",
    "binary": "labels (n,) of two classes, bool, whole numbers or text",
    "multilabel": "zeros and ones, or bool, (n, labels)",
    "regression": "finite numbers (n,) or (n, outputs)",
}


class Targets(NamedTuple):
    """The targets of all samples.

    Args:
        spec: Description of the target.
        values: `(n,)` int64 for `multiclass` and `binary`, `(n, size)` int64 for `multilabel` and float32 for
            `regression`.
    """

    spec: TargetSpec
    values: Tensor


def default_kind(values: Array) -> TargetKind:
    """Integers or text (n,): multiclass; bool (n,): binary; integers or bool (n, L): multilabel; floats: regression."""
    if values.dtype.kind == "f":
        return "regression"
    if values.ndim == 2:
        return "multilabel"
    return "binary" if values.dtype.kind == "b" else "multiclass"


def make_targets(values: ArrayLike, kind: TargetKind | None = None, where: str = "targets") -> Targets:
    """Convert targets to the form that tasks expect.

    Args:
        values: Targets as in the source.
        kind: Kind of the target; default: see `default_kind`.
        where: File and array, for messages.

    Raises:
        DataError: If there are no targets, they do not fit the kind, or a value is missing.
    """
    values = np.asarray(values)
    if not values.size:
        raise DataError(
            f"{where}: expected a target for each sample, but got shape {values.shape}. Check the path of the data."
        )
    kind = kind or default_kind(values)
    vector = kind in ("multiclass", "binary")
    types, dimensions = ("biufU", (1,)) if vector else ("biuf", (2,) if kind == "multilabel" else (1, 2))
    if values.dtype.kind not in types or values.ndim not in dimensions:
        raise _unfit(where, kind, f"{values.shape} {values.dtype}")
    if vector:
        return _labels(where, values, kind)
    return _zeros_and_ones(where, values) if kind == "multilabel" else _numbers(where, values)


def class_target(names: tuple[str, ...], binary: bool) -> TargetSpec:
    """Target of these classes: one output per class, or, if `binary`, one logit (the second class is positive).

    Raises:
        ConfigError: If there are fewer than two classes, or more than two if `binary`.
    """
    if len(names) < 2 or (binary and len(names) > 2):
        wanted = "two classes for `binary`" if binary else "at least two classes"
        raise ConfigError(
            f"Expected {wanted}, but the data has {len(names)}: {some(names)}."
            + (" Leave out `binary`." if len(names) > 2 else "")
        )
    return TargetSpec("binary" if binary else "multiclass", 1 if binary else len(names), names)


def is_class(spec: TargetSpec) -> bool:
    """Whether the target is one class of several."""
    return spec.kind in ("multiclass", "binary")


def class_names(spec: TargetSpec) -> tuple[str, ...]:
    """Names of the classes or labels, or their numbers if they have no names."""
    return spec.names or tuple(map(str, range(2 if spec.kind == "binary" else spec.size)))


def count_classes(targets: Targets, chosen: Tensor) -> Tensor | None:
    """Number of chosen samples per class (multilabel: per label; `binary`: two); None for regression."""
    if targets.spec.kind == "regression":
        return None
    values = targets.values[chosen]
    return values.bincount(minlength=len(class_names(targets.spec))) if is_class(targets.spec) else values.sum(0)


def _labels(where: str, values: Array, kind: TargetKind) -> Targets:
    labels, names = encode(values, where)
    if values.dtype.kind in "if" and values.min() < 0:
        below = f"{values.min():g} ({(values < 0).sum()} samples are below 0: leave out samples without a label)"
        raise _unfit(where, kind, below)
    try:
        return Targets(class_target(names, kind == "binary"), torch.from_numpy(labels))
    except ConfigError as error:
        raise _unfit(where, kind, f"{len(names)} ({some(names)})") from error


def _zeros_and_ones(where: str, values: Array) -> Targets:
    other = values[(values != 0) & (values != 1)]
    if other.size:
        raise _unfit(where, "multilabel", f"{other[0]} in {values.shape} {values.dtype}")
    return Targets(TargetSpec("multilabel", values.shape[1]), torch.from_numpy(values.astype(np.int64)))


def _numbers(where: str, values: Array) -> Targets:
    bad = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(1))
    if len(bad):
        raise _unfit(where, "regression", f"NaN or infinity in {len(bad)} samples, the first is sample {bad[0]}")
    numbers = torch.from_numpy(values.astype(np.float32)).reshape(len(values), -1)
    return Targets(TargetSpec("regression", numbers.shape[1]), numbers)


def _unfit(where: str, kind: TargetKind, found: str) -> DataError:
    return DataError(
        f"{where}: expected {_EXPECTED[kind]} for a {kind} target, but got {found}. Correct the array, or set `kind`"
        " to its meaning."
    )
