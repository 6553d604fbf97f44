"""Multilabel classification."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MetricCollection
from torchmetrics.classification import MultilabelAccuracy, MultilabelF1Score

from fusionlit.tasks.base import SampleLosses, Task
from fusionlit.tasks.calibration import Temperature, with_calibration_error
from fusionlit.tasks.checks import check_zeros_and_ones, checked_smoothing
from fusionlit.tasks.class_weights import ClassWeights
from fusionlit.types import TargetSpec


class MultilabelClassification(Task):
    """K independent labels, with binary cross-entropy loss; the mean over samples and labels is weighted by label.

    Metrics: `f1_weighted` (mean F1 over labels, weighted by their frequency), `f1_macro`, `accuracy`; also
    `calibration_error` of all labels pooled in validation and test.

    Args:
        target: Prediction target of the data.
        label_smoothing: Share s of each label's target that is spread evenly over both outcomes: `(1 - s) t + s / 2`.
        class_weights: Weight of each label; `balanced`: `n / (K n_k)` for `n_k` training samples with label k, n = sum
            of n_k.

    Raises:
        ConfigError: If the target is of another kind, or an argument is invalid.
    """

    kind = "multilabel"
    main_metric = "accuracy"
    temperature: Temperature

    def __init__(
        self,
        target: TargetSpec,
        label_smoothing: float = 0.0,
        class_weights: Literal["balanced"] | Sequence[float] | None = None,
    ) -> None:
        super().__init__(target)
        self.label_smoothing = checked_smoothing(label_smoothing)
        self.class_weights = ClassWeights(class_weights, target.size, target.names)
        self.temperature = Temperature()

    def losses(self, prediction: Tensor, target: Tensor) -> SampleLosses:
        """Weighted binary cross-entropy of each sample, summed over its labels, and the sum of their weights."""
        weights = self.class_weights(prediction)
        smoothed = target.to(prediction.dtype) * (1 - self.label_smoothing) + self.label_smoothing / 2
        losses = F.binary_cross_entropy_with_logits(prediction, smoothed, weights, reduction="none")
        return SampleLosses(losses.sum(1), weights.sum().expand(len(target)))

    def predict(self, prediction: Tensor) -> Tensor:
        """Probability of each label `(B, K)`."""
        probabilities: Tensor = self.temperature(prediction).sigmoid()
        return probabilities

    def scores(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Share of the labels that are correct."""
        return ((prediction > 0) == target.bool()).float().mean(1)

    def metrics(self) -> MetricCollection:
        """Weighted F1, macro F1 and accuracy."""
        labels = self.target.size
        return MetricCollection(
            {
                "f1_weighted": MultilabelF1Score(labels, average="weighted", validate_args=False),
                "f1_macro": MultilabelF1Score(labels, average="macro", validate_args=False),
                "accuracy": MultilabelAccuracy(labels, validate_args=False),
            },
            compute_groups=[["f1_weighted", "f1_macro", "accuracy"]],  # given, since finding them would compare states
        )

    def evaluation_metrics(self) -> MetricCollection:
        """Weighted F1, macro F1, accuracy and calibration error."""
        return with_calibration_error(self.metrics())

    def class_logits(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The logits (0, z) of every label of every sample."""
        z = prediction.reshape(-1, 1)
        return torch.cat([torch.zeros_like(z), z], dim=1), target.flatten()

    def check_values(self, target: Tensor) -> None:
        """Raise DataError unless the target is 0 or 1."""
        check_zeros_and_ones(target)

    def set_class_counts(self, counts: Tensor) -> None:
        """Resolve balanced class weights."""
        self.class_weights.set_counts(counts)
