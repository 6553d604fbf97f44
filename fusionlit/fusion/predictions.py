"""What operators on the predictions of members share."""

import torch
from torch import Tensor

from fusionlit.errors import ConfigError
from fusionlit.functional import two_classes, widen
from fusionlit.types import Shape, TargetSpec


def check_predictions(operator: str, shapes: dict[str, Shape]) -> None:
    """Refuse sources that are no predictions.

    Raises:
        ConfigError: If one is no vector.
    """
    if any(len(shape) != 1 for shape in shapes.values()):
        raise ConfigError(f"Expected the sources of {operator} to be predictions (O,), but got {shapes}.")


def check_one_of_several(operator: str, target: TargetSpec) -> None:
    """Refuse a target that is not one of several classes.

    Raises:
        ConfigError: If it is multilabel or regression.
    """
    if target.kind not in ("multiclass", "binary"):
        raise ConfigError(
            f"Expected a 'multiclass' or 'binary' target for {operator}, which weighs one class against the others, but"
            f" got {target.kind!r}: take WeightedAverage."
        )


def class_logits(members: list[Tensor]) -> Tensor:
    """Logits `(K, B, O)` of predictions `(B, O)`, in at least float32; one logit is that of two classes."""
    logits = torch.stack(widen(members))
    return two_classes(logits) if logits.shape[-1] == 1 else logits


def as_prediction(log_probabilities: Tensor, like: Tensor) -> Tensor:
    """Log-probabilities `(B, O)` as a prediction like `like`, in its dtype: the log-odds where it has one logit."""
    if like.shape[-1] == 1:
        log_probabilities = log_probabilities[:, 1:] - log_probabilities[:, :1]
    return log_probabilities.to(like.dtype)
