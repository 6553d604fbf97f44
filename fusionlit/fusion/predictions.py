"""Helpers of operators that combine predictions."""

import torch
from torch import Tensor

from fusionlit.errors import ConfigError
from fusionlit.functional import two_classes, widen
from fusionlit.types import Shape, TargetSpec


def check_predictions(operator: str, shapes: dict[str, Shape]) -> None:
    """Check that every source is a prediction vector.

    Raises:
        ConfigError: If one is not.
    """
    if any(len(shape) != 1 for shape in shapes.values()):
        raise ConfigError(f"Expected the sources of {operator} to be predictions (O,), but got {shapes}.")


def check_one_of_several(operator: str, target: TargetSpec) -> None:
    """Check that the target is multiclass or binary.

    Raises:
        ConfigError: If it is not.
    """
    if target.kind not in ("multiclass", "binary"):
        raise ConfigError(
            f"Expected a 'multiclass' or 'binary' target for {operator}, which weighs classes against each other, but"
            f" got {target.kind!r}: use WeightedAverage."
        )


def class_logits(members: list[Tensor]) -> Tensor:
    """Stack predictions `(B, O)` to logits `(K, B, O)` in at least float32; a single logit becomes two classes."""
    logits = torch.stack(widen(members))
    return two_classes(logits) if logits.shape[-1] == 1 else logits


def as_prediction(log_probabilities: Tensor, like: Tensor) -> Tensor:
    """Log-probabilities `(B, O)` in the dtype of `like`; reduced to log-odds `(B, 1)` if `like` has one logit."""
    if like.shape[-1] == 1:
        log_probabilities = log_probabilities[:, 1:] - log_probabilities[:, :1]
    return log_probabilities.to(like.dtype)
