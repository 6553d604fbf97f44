"""Base class of tasks."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection

from fusionlit.errors import ConfigError, DataError
from fusionlit.tasks.calibration import Temperature
from fusionlit.types import TargetKind, TargetSpec


class SampleLosses(NamedTuple):
    """Weighted loss of each sample, and its weight, whose sum is the divisor of the mean; both `(B,)`."""

    loss: Tensor
    weight: Tensor


class BatchMean(NamedTuple):
    """Mean loss or score of a batch, and its sum of weights, the batch's weight in a mean over batches; scalars."""

    value: Tensor
    weight: Tensor


class EpochMean(Metric):
    """Weighted mean of batch means, so that the result does not depend on how samples are batched.

    torchmetrics' MeanMetric (1.9) checks every batch for NaN, which synchronises with the device, or else ignores the
    weights.
    """

    total: Tensor
    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("total", "weight"):
            self.add_state(name, torch.tensor(0.0), dist_reduce_fx="sum")

    def update(self, batch: BatchMean) -> None:
        """Add a batch."""
        self.total += batch.value.detach() * batch.weight
        self.weight += batch.weight

    def compute(self) -> Tensor:
        """The mean so far; NaN if the total weight is zero or a loss was NaN."""
        return self.total / self.weight


class Task(nn.Module, ABC):
    """A kind of prediction, its loss and its metrics.

    A subclass computes the loss of each sample; this class takes the mean over the present samples.

    Args:
        target: Prediction target of the data.

    Raises:
        ConfigError: If the task does not support this kind of target.
    """

    kind: ClassVar[TargetKind]
    main_metric: ClassVar[str]
    """The metric in `metrics` that is also logged for each unimodal head; a mean over samples."""
    higher_is_better: ClassVar[bool] = True
    """Whether a higher `main_metric` is better."""
    temperature: Temperature | None
    """Divisor of the logits in `predict`; None for tasks without logits."""

    def __init__(self, target: TargetSpec) -> None:
        super().__init__()
        if target.kind != self.kind:
            raise ConfigError(
                f"Expected a task for a {target.kind!r} target, but got {type(self).__name__}, which supports"
                f" {self.kind!r}. Leave out `task` to use the default for the data."
            )
        self.target = target
        self.temperature = None
        self._checked: set[bool] = set()

    @abstractmethod
    def losses(self, prediction: Tensor, target: Tensor) -> SampleLosses:
        """Loss of each sample of `prediction` `(B, size)`, which has at least float32 precision."""

    @abstractmethod
    def predict(self, prediction: Tensor) -> Tensor:
        """Final prediction for metrics and users, in at least float32; of the target's shape, except for `multiclass`.

        Probabilities `(B, size)` for `multiclass` and `multilabel`; probability `(B,)` of the positive class for
        `binary`; the prediction itself for `regression`.
        """

    @abstractmethod
    def metrics(self) -> MetricCollection:
        """A new collection of the task's metrics, called with `(predict(prediction), target)`."""

    @abstractmethod
    def check_values(self, target: Tensor) -> None:
        """Raise DataError if `target` contains an invalid value; called on the first batches only."""

    @abstractmethod
    def scores(self, prediction: Tensor, target: Tensor) -> Tensor:
        """`main_metric` of each sample `(B,)`, from `prediction` `(B, size)`; its mean over samples is the metric."""

    def evaluation_metrics(self) -> MetricCollection:
        """A new collection of the metrics of validation and test: those of training and any too slow for training."""
        return self.metrics()

    def class_logits(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Logits `(N, K)` and labels `(N,)` to fit a temperature on.

        Raises:
            ConfigError: If the task does not predict probabilities.
        """
        raise ConfigError(f"Expected a classification task, but {type(self).__name__} has no class logits.")

    def set_class_counts(self, counts: Tensor) -> None:
        """Set the number of training samples of each class; ignored by the base class.

        `(size,)` for `multiclass`, `(2,)` for `binary`, `(size,)` positive samples of each label for `multilabel`.
        """

    def loss(self, prediction: Tensor, target: Tensor, present: Tensor | None = None) -> Tensor:
        """Value of `mean_loss`, a scalar."""
        return self.mean_loss(prediction, target, present).value

    def mean_loss(self, prediction: Tensor, target: Tensor, present: Tensor | None = None) -> BatchMean:
        """Mean loss over the present samples: `sum_i m_i loss_i / sum_i m_i weight_i`.

        Computed in at least float32. The prediction of a missing sample, even if NaN, does not affect the loss or its
        gradient; if no sample is present, the loss is 0 and differentiable, with zero gradient.

        Args:
            prediction: `(B, size)`.
            target: `(B,)` for `multiclass` and `binary`, else `(B, size)`.
            present: `(B,)` bool; default: all are present.

        Raises:
            ConfigError: If the prediction is not of shape `(B, size)`.
            DataError: If the target's shape does not fit its kind, or it contains an invalid value. Values are checked
                on the first training batch and the first evaluation batch only, since the check synchronises with the
                device.
        """
        self._check(prediction, target)
        prediction = at_least_float32(prediction)
        if present is None:
            loss, weight = self.losses(prediction, target)
            return _mean(loss, weight)
        # Mask before the loss: masking after it would give a gradient of 0 times NaN.
        loss, weight = self.losses(torch.where(present[:, None], prediction, 0.0), target)
        return _mean(loss * present, weight * present)

    def mean_score(self, prediction: Tensor, target: Tensor, present: Tensor | None = None) -> BatchMean:
        """Mean of `scores` over the present samples; arguments as in `mean_loss`."""
        scores = self.scores(prediction, target)
        weight = torch.ones_like(scores) if present is None else present.to(scores.dtype)
        return _mean(torch.where(weight > 0, scores, 0.0), weight)

    def _check(self, prediction: Tensor, target: Tensor) -> None:
        batch, size = prediction.shape[0], self.target.size
        if prediction.shape != (batch, size):
            raise ConfigError(
                f"Expected the prediction for this {self.kind} target to be (B, {size}), but got"
                f" {tuple(prediction.shape)}. Give the head `out_size`={size}."
            )
        shape = (batch,) if self.kind in ("multiclass", "binary") else (batch, size)
        if target.shape != shape:
            raise DataError(
                f"Expected a {self.kind} `target` of shape {shape}, but got {tuple(target.shape)}. Change the `target`"
                " of the data set."
            )
        if self.training not in self._checked:
            self.check_values(target)
            self._checked.add(self.training)


def at_least_float32(x: Tensor) -> Tensor:
    """`x` in at least float32."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _mean(loss: Tensor, weight: Tensor) -> BatchMean:
    total = weight.sum()
    return BatchMean(loss.sum() / total.where(total > 0, 1.0), total)


TaskFactory = Callable[[TargetSpec], Task]
