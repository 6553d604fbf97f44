"""Regression: real numbers."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MeanAbsoluteError, MeanSquaredError, MetricCollection, R2Score

from fusionlit.errors import ConfigError, DataError
from fusionlit.tasks.base import SampleLosses, Task, at_least_float32
from fusionlit.types import TargetSpec

_LOSSES: dict[str, Callable[..., Tensor]] = {"mse": F.mse_loss, "mae": F.l1_loss, "huber": F.huber_loss}


class Regression(Task):
    """Real numbers, by the mean over samples and outputs of the squared, absolute or Huber error.

    Metrics over all outputs: `mse`, `mae`, `r2` (mean over the outputs; NaN for less than two samples).

    Args:
        target: What the data asks for.
        loss: `mse`, `mae`, or `huber`: half the squared error e up to |e| = 1, `|e| - 1/2` beyond.

    Raises:
        ConfigError: If the target is of another kind, or there is no such loss.
    """

    kind = "regression"
    main_metric = "mse"
    higher_is_better = False

    def __init__(self, target: TargetSpec, loss: Literal["mse", "mae", "huber"] = "mse") -> None:
        super().__init__(target)
        if loss not in _LOSSES:
            raise ConfigError(f"Expected `loss` of Regression to be one of {list(_LOSSES)}, but got {loss!r}.")
        self.error = loss

    def losses(self, prediction: Tensor, target: Tensor) -> SampleLosses:
        """Mean error of each sample's outputs, of equal weight."""
        loss = _LOSSES[self.error](prediction, target.to(prediction.dtype), reduction="none").mean(1)
        return SampleLosses(loss, torch.ones_like(loss))

    def predict(self, prediction: Tensor) -> Tensor:
        """The prediction `(B, size)` itself."""
        return at_least_float32(prediction)

    def scores(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Mean squared error of each sample's outputs."""
        return (at_least_float32(prediction) - target).square().mean(1)

    def metrics(self) -> MetricCollection:
        """Mean squared and absolute error, and the share of variance explained."""
        return MetricCollection(
            {"mse": MeanSquaredError(), "mae": MeanAbsoluteError(), "r2": _R2()},
            compute_groups=False,  # to find some, states would be compared
        )

    def check_values(self, target: Tensor) -> None:
        """Refuse NaN and infinity."""
        if not target.isfinite().all():
            raise DataError("Expected a regression `target` of finite numbers, but got NaN or infinity.")


class _R2(R2Score):
    """NaN for less than two samples, where torchmetrics raises."""

    def compute(self) -> Tensor:
        if self.total < 2:
            return torch.full((), torch.nan, device=self.residual.device)
        return super().compute()
