"""Multiclass and binary classification."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MetricCollection
from torchmetrics.classification import (
    BinaryAccuracy,
    BinaryAUROC,
    BinaryF1Score,
    MulticlassAccuracy,
    MulticlassF1Score,
    MulticlassRecall,
    MulticlassStatScores,
)
from torchmetrics.utilities import dim_zero_cat

from fusionlit.tasks.base import SampleLosses, Task
from fusionlit.tasks.calibration import Temperature, with_calibration_error
from fusionlit.tasks.checks import check_labels, check_zeros_and_ones, checked_smoothing
from fusionlit.tasks.class_weights import ClassWeights
from fusionlit.types import TargetSpec

# Not a valid label: with torch's default, -100, such labels in the data would be ignored silently.
_IGNORE = torch.iinfo(torch.int64).min


class MulticlassClassification(Task):
    """One of K classes, with cross-entropy loss; the mean is weighted by class, as in `torch.nn.CrossEntropyLoss`.

    Metrics: `accuracy`, `balanced_accuracy` (mean recall over classes), `f1` (mean F1 over classes); also
    `calibration_error` in validation and test.

    Args:
        target: Prediction target of the data.
        label_smoothing: Share s of the target that is spread evenly over all classes: `(1 - s) t + s / K`.
        class_weights: Weight of each class; `balanced`: `n / (K n_k)` for `n_k` of `n` training samples.

    Raises:
        ConfigError: If the target is of another kind, or an argument is invalid.
    """

    kind = "multiclass"
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
        """Weighted cross-entropy and class weight of each sample."""
        return _cross_entropy(prediction, target, self.class_weights(prediction), self.label_smoothing)

    def predict(self, prediction: Tensor) -> Tensor:
        """Probability of each class `(B, K)`."""
        probabilities: Tensor = self.temperature(prediction).softmax(-1)
        return probabilities

    def scores(self, prediction: Tensor, target: Tensor) -> Tensor:
        """1 where the most likely class is correct, else 0."""
        return (prediction.argmax(1) == target).float()

    def metrics(self) -> MetricCollection:
        """Accuracy, balanced accuracy and F1."""
        classes = self.target.size
        return MetricCollection(
            {
                "accuracy": MulticlassAccuracy(classes, average="micro", validate_args=False),
                "balanced_accuracy": _Recall(classes, average="macro", validate_args=False),
                "f1": _F1Score(classes, average="macro", validate_args=False),
            },
            compute_groups=[
                ["accuracy"],
                ["balanced_accuracy", "f1"],
            ],  # given, since finding them would compare states
        )

    def evaluation_metrics(self) -> MetricCollection:
        """Accuracy, balanced accuracy, F1 and calibration error."""
        return with_calibration_error(self.metrics())

    def class_logits(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Both unchanged."""
        return prediction, target

    def check_values(self, target: Tensor) -> None:
        """Raise DataError unless labels are integers from 0 to K - 1."""
        check_labels(target, self.target.size)

    def set_class_counts(self, counts: Tensor) -> None:
        """Resolve balanced class weights."""
        self.class_weights.set_counts(counts)


class BinaryClassification(Task):
    """Two classes with one logit z: cross-entropy over the logits (0, z), as in multiclass with K = 2.

    Metrics: `accuracy`, `auroc` (NaN if only one class occurred), `f1`; also `calibration_error` of the positive
    class's probability in validation and test.

    Args:
        target: Prediction target of the data.
        label_smoothing: Share s of the target that is spread evenly over both classes: `(1 - s) t + s / 2`.
        class_weights: Weight of the negative and of the positive class; `balanced`: `n / (2 n_k)`.

    Raises:
        ConfigError: If the target is of another kind, or an argument is invalid.
    """

    kind = "binary"
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
        self.class_weights = ClassWeights(class_weights, 2, target.names)
        self.temperature = Temperature()

    def losses(self, prediction: Tensor, target: Tensor) -> SampleLosses:
        """Weighted cross-entropy and class weight of each sample."""
        logits, _ = self.class_logits(prediction, target)
        return _cross_entropy(logits, target, self.class_weights(prediction), self.label_smoothing)

    def predict(self, prediction: Tensor) -> Tensor:
        """Probability of the positive class `(B,)`."""
        probabilities: Tensor = self.temperature(prediction)[:, 0].sigmoid()
        return probabilities

    def scores(self, prediction: Tensor, target: Tensor) -> Tensor:
        """1 where the more likely class is correct, else 0."""
        return ((prediction[:, 0] > 0) == target.bool()).float()

    def metrics(self) -> MetricCollection:
        """Accuracy, area under the ROC curve and F1."""
        return MetricCollection(
            {
                "accuracy": BinaryAccuracy(validate_args=False),
                "auroc": _AUROC(validate_args=False),
                "f1": BinaryF1Score(validate_args=False),
            },
            compute_groups=[["accuracy", "f1"], ["auroc"]],
        )

    def evaluation_metrics(self) -> MetricCollection:
        """Accuracy, area under the ROC curve, F1 and calibration error."""
        return with_calibration_error(self.metrics())

    def class_logits(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The logits (0, z)."""
        return torch.cat([torch.zeros_like(prediction), prediction], dim=1), target

    def check_values(self, target: Tensor) -> None:
        """Raise DataError unless the target is 0 or 1."""
        check_zeros_and_ones(target)

    def set_class_counts(self, counts: Tensor) -> None:
        """Resolve balanced class weights."""
        self.class_weights.set_counts(counts)


class _ByClass(MulticlassStatScores):
    """Counts by class without `torch.bincount`, which would synchronise with the device at every batch."""

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Count `preds` `(B, K)` and `target` `(B,)`."""
        classes = preds.shape[1]
        pairs = target.long() * classes + preds.argmax(1)
        counts = pairs.new_zeros(classes**2).scatter_add(0, pairs, torch.ones_like(pairs))
        confusion = counts.view(classes, classes)
        hit, labelled, predicted = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
        self._update_state(hit, predicted - hit, confusion.sum() - labelled - predicted + hit, labelled - hit)


class _Recall(_ByClass, MulticlassRecall):
    pass


class _F1Score(_ByClass, MulticlassF1Score):
    pass


class _AUROC(BinaryAUROC):
    """NaN without a warning if only one class occurred, as in the few batches of Lightning's sanity check."""

    def compute(self) -> Tensor:  # type: ignore[override]  # as in torchmetrics itself
        target = dim_zero_cat(self.target)
        if (target == target[0]).all():
            return torch.full((), torch.nan, device=target.device)
        area: Tensor = super().compute()
        return area


def _cross_entropy(logits: Tensor, target: Tensor, weights: Tensor, label_smoothing: float) -> SampleLosses:
    target = target.long()
    loss = F.cross_entropy(
        logits, target, weights, reduction="none", label_smoothing=label_smoothing, ignore_index=_IGNORE
    )
    return SampleLosses(loss, weights[target])
