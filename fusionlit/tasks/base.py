"""What a task is."""

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
    """Loss of each sample, already weighted, and its weight, by whose sum the mean divides; both `(B,)`."""

    loss: Tensor
    weight: Tensor


class BatchMean(NamedTuple):
    """Mean loss or score of a batch, and the sum of its weights, by which it counts in a mean over batches; scalars."""

    value: Tensor
    weight: Tensor


class EpochMean(Metric):
    """Mean of batches' means, each by its weight, so that it does not depend on how samples fall into batches.

    torchmetrics' own (1.9) looks for NaN in every batch, for which the host waits, or else forgets the weights.
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
        """The mean so far; NaN where nothing has weight, or a loss was NaN."""
        return self.total / self.weight


class Task(nn.Module, ABC):
    """What is predicted, its loss and its metrics.

    A subclass gives the loss of every sample; the mean over those that are present is made here, once for all tasks.

    Args:
        target: What the data asks for.

    Raises:
        ConfigError: If the task does not serve this kind of target.
    """

    kind: ClassVar[TargetKind]
    main_metric: ClassVar[str]
    """The one of `metrics` that is also logged for each source's own head; a mean over samples."""
    higher_is_better: ClassVar[bool] = True
    """Whether a higher `main_metric` is better."""
    temperature: Temperature | None
    """What `predict` divides logits by; None where a task has no logits."""

    def __init__(self, target: TargetSpec) -> None:
        super().__init__()
        if target.kind != self.kind:
            raise ConfigError(
                f"Expected a task for a {target.kind!r} target, but got {type(self).__name__}, which serves"
                f" {self.kind!r}. Leave out `task` to get the one that fits the data."
            )
        self.target = target
        self.temperature = None
        self._checked: set[bool] = set()

    @abstractmethod
    def losses(self, prediction: Tensor, target: Tensor) -> SampleLosses:
        """Loss of each sample of `prediction` `(B, size)`, which is in at least float32."""

    @abstractmethod
    def predict(self, prediction: Tensor) -> Tensor:
        """What the metrics and the user get, in at least float32 and of the target's shape, but for `multiclass`.

        Probabilities: `(B, size)` for `multiclass` and `multilabel`, `(B,)` that of the positive class for `binary`;
        for `regression` the prediction itself.
        """

    @abstractmethod
    def metrics(self) -> MetricCollection:
        """A fresh collection of the task's metrics, which takes `(predict(prediction), target)`."""

    @abstractmethod
    def check_values(self, target: Tensor) -> None:
        """Raise DataError if a value of `target` is none that can be predicted; called on the first batches only."""

    @abstractmethod
    def scores(self, prediction: Tensor, target: Tensor) -> Tensor:
        """`main_metric` of each sample `(B,)`, from `prediction` `(B, size)`; its mean over samples is the metric."""

    def evaluation_metrics(self) -> MetricCollection:
        """A fresh collection of the metrics of validation and test: those of training, and what would slow it down."""
        return self.metrics()

    def class_logits(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Logits `(N, K)` and labels `(N,)` whose cross-entropy is that of the probabilities, to fit a temperature on.

        Raises:
            ConfigError: If the task predicts no probabilities.
        """
        raise ConfigError(f"Expected a classification task, but {type(self).__name__} has no logits of classes.")

    def set_class_counts(self, counts: Tensor) -> None:
        """Take the number of training samples of each class; the base class has no use for it.

        `(size,)` for `multiclass`, `(2,)` for `binary`, `(size,)` samples that have each label for `multilabel`.
        """

    def loss(self, prediction: Tensor, target: Tensor, present: Tensor | None = None) -> Tensor:
        """Value of `mean_loss`, a scalar."""
        return self.mean_loss(prediction, target, present).value

    def mean_loss(self, prediction: Tensor, target: Tensor, present: Tensor | None = None) -> BatchMean:
        """Mean loss over the samples that are present: `sum_i m_i loss_i / sum_i m_i weight_i`.

        Computed in at least float32. Nothing of an absent sample's prediction, not even NaN, reaches the loss or its
        gradient; where no sample is present the loss is 0, with a graph, and its gradient too.

        Args:
            prediction: `(B, size)`.
            target: `(B,)` for `multiclass` and `binary`, else `(B, size)`.
            present: `(B,)` bool; default: all are.

        Raises:
            ConfigError: If the prediction's shape is not the target's size.
            DataError: If the target's shape does not fit its kind or, on the first batch of training and the first of
                evaluation, one of its values cannot be predicted. Later batches are spared the synchronisation.
        """
        self._check(prediction, target)
        prediction = at_least_float32(prediction)
        if present is None:
            loss, weight = self.losses(prediction, target)
            return _mean(loss, weight)
        # Before the loss and not behind it: the gradient of what is masked behind it is 0 times NaN.
        loss, weight = self.losses(torch.where(present[:, None], prediction, 0.0), target)
        return _mean(loss * present, weight * present)

    def mean_score(self, prediction: Tensor, target: Tensor, present: Tensor | None = None) -> BatchMean:
        """Mean of `scores` over the samples that are present; the arguments are those of `mean_loss`."""
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
                f"Expected a {self.kind} `target` of shape {shape}, but got {tuple(target.shape)}. Change what the data"
                " set gives as `target`."
            )
        if self.training not in self._checked:
            self.check_values(target)
            self._checked.add(self.training)


def at_least_float32(x: Tensor) -> Tensor:
    """`x`, in float32 where its own precision is lower."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _mean(loss: Tensor, weight: Tensor) -> BatchMean:
    total = weight.sum()
    return BatchMean(loss.sum() / total.where(total > 0, 1.0), total)


TaskFactory = Callable[[TargetSpec], Task]
