"""Checks of arguments and targets of the classification tasks."""

from torch import Tensor

from fusionlit.errors import ConfigError, DataError


def checked_smoothing(label_smoothing: float) -> float:
    """Return `label_smoothing` if it is valid.

    Raises:
        ConfigError: If it is not in [0, 1).
    """
    if not 0 <= label_smoothing < 1:
        raise ConfigError(f"Expected `label_smoothing` to be in [0, 1), but got {label_smoothing}.")
    return label_smoothing


def check_labels(target: Tensor, classes: int) -> None:
    """Check that a target `(B,)` holds integers from 0 to `classes` - 1.

    Raises:
        DataError: If it does not.
    """
    if target.is_floating_point():
        raise DataError(f"Expected a multiclass `target` of integer labels, but got {target.dtype}.")
    if ((target < 0) | (target >= classes)).any():
        raise DataError(
            f"Expected a multiclass `target` of labels from 0 to {classes - 1}, but got labels from {int(target.min())}"
            f" to {int(target.max())}. Number the classes from 0 in the data."
        )


def check_zeros_and_ones(target: Tensor) -> None:
    """Check that a target of any shape holds only zeros and ones.

    Raises:
        DataError: If it does not.
    """
    wrong = target[(target != 0) & (target != 1)]
    if len(wrong):
        raise DataError(f"Expected a `target` of zeros and ones, but got {wrong[0].item()}. Change it in the data.")
