"""Calibration of classification tasks: calibration error as a metric, and temperature scaling."""

import torch
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection

from fusionlit.functional import calibration_error


class CalibrationError(Metric):
    """Expected calibration error of probabilities, in bins of equal width (`functional.calibration_error`).

    For class probabilities `(B, K)`, the largest is compared with the accuracy of the predicted class. For
    probabilities of the positive class or of labels, each is compared with the frequency of positives; labels are
    pooled.

    torchmetrics' CalibrationError (1.9) checks every batch for logits, which synchronises with the device, and stores
    every confidence.

    Args:
        bins: Number of bins between 0 and 1.
    """

    higher_is_better = False
    is_differentiable = False
    full_state_update = False
    confidence: Tensor
    hits: Tensor
    count: Tensor

    def __init__(self, bins: int = 15) -> None:
        super().__init__()
        self.bins = bins
        self.add_state("confidence", torch.zeros(bins), dist_reduce_fx="sum")
        self.add_state("hits", torch.zeros(bins, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(bins, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add `preds` `(B, K)` with `target` `(B,)`, or both of equal shape."""
        if preds.ndim > target.ndim:
            confidence, predicted = preds.max(1)
            hits = predicted == target
        else:
            confidence, hits = preds.flatten(), target.flatten()
        bins = (confidence * self.bins).long().clamp(0, self.bins - 1)  # 1 goes to the last bin, NaN to any
        self.confidence.scatter_add_(0, bins, confidence.to(self.confidence.dtype))
        self.hits.scatter_add_(0, bins, hits.long())
        self.count.scatter_add_(0, bins, torch.ones_like(bins))

    def compute(self) -> Tensor:
        """The error so far; NaN if nothing was added."""
        return calibration_error(self.confidence, self.hits, self.count)


class Temperature(nn.Module):
    """Divides logits by a temperature, which is 1 until it is fitted after training; saved with the model.

    It changes probabilities, but not their order, nor the loss.
    """

    value: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("value", torch.ones(()))

    def forward(self, logits: Tensor) -> Tensor:
        """`logits / T`, in at least float32."""
        wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return wide / self.value.to(wide.dtype)

    def reset(self) -> None:
        """Reset to 1, since a fitted temperature is invalid once the weights change."""
        self.value.fill_(1.0)


def with_calibration_error(metrics: MetricCollection) -> MetricCollection:
    """The metrics with `calibration_error` added."""
    groups = list(metrics.compute_groups.values())
    own = CalibrationError()
    return MetricCollection(
        {**dict(metrics.items()), "calibration_error": own},
        compute_groups=[*groups, ["calibration_error"]] if groups else False,
    )
