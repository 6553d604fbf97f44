"""Regression."""

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
    """Real numbers, with the mean squared, absolute or Huber error over samples and outputs as loss.

    Metrics over all outputs: `mse`, `mae`, `r2` (mean over the outputs; NaN for fewer than two samples).

    Args:
        target: Prediction target of the data.
        loss: `mse`, `mae`, or `huber`: half the squared error e up to |e| = 1, `|e| - 1/2` beyond.

    Raises:
        ConfigError: If the target is of another kind, or `loss` is invalid.
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
        """Mean error over each sample's outputs, with weight 1."""
        loss = _LOSSES[self.error](prediction, target.to(prediction.dtype), reduction="none").mean(1)
        return SampleLosses(loss, torch.ones_like(loss))

    def predict(self, prediction: Tensor) -> Tensor:
        """The prediction `(B, size)` itself."""
        return at_least_float32(prediction)

    def scores(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Mean squared error over each sample's outputs."""
        return (at_least_float32(prediction) - target).square().mean(1)

    def metrics(self) -> MetricCollection:
        """Mean squared error, mean absolute error and R2."""
        return MetricCollection(
            {"mse": MeanSquaredError(), "mae": MeanAbsoluteError(), "r2": _R2()},
            compute_groups=False,  # finding groups would compare states
        )

    def check_values(self, target: Tensor) -> None:
        """Raise DataError unless all values are finite."""
        if not target.isfinite().all():
            raise DataError("Expected a regression `target` of finite numbers, but got NaN or infinity.")


class _R2(R2Score):
    """NaN for fewer than two samples, where torchmetrics raises."""

    def compute(self) -> Tensor:
        if self.total < 2:
            return torch.full((), torch.nan, device=self.residual.device)
        return super().compute()
