"""Keeps the best and the last model of a training run."""

from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from fusionlit.callbacks.smoothing import MAIN_METRIC, SMOOTHED, metric_of
from fusionlit.errors import ConfigError


class BestCheckpoint(ModelCheckpoint):
    """Lightning's `ModelCheckpoint`, which knows the main metric, and of models that are as good keeps the latest.

    `monitor="val/main_metric"` follows the main metric of the task, whichever way is better, and
    `"val/main_metric_smoothed"` its mean over some epochs, where a `SmoothedMetric` takes that.

    A few validation subjects cannot rank models that are a point of accuracy apart, and a schedule that falls to zero
    makes the last one the best on other subjects more often than not. So the latest model is kept whose metric is
    within `tolerance` of the best so far: `|best - metric| <= tolerance * |best|`. A network that overfits leaves that
    range. (The validation loss may be lowest long before the accuracy is best, since a network grows too sure of
    itself. `benchmarks/recipe.py` compares these choices.)

    It minds its own state only while training. A test of a checkpoint writes none, so that where the training run kept
    its own is no matter to warn of.

    Args:
        tolerance: Share of the best metric that a later model may fall short by. It needs `save_top_k=1`; with more
            models than one they are ranked, and only of equal ones the latest is kept.

    Raises:
        ConfigError: If `tolerance` is negative.
    """

    _fitting = False

    def __init__(self, tolerance: float = 0.02, **kwargs: Any) -> None:  # noqa: ANN401 (ModelCheckpoint's own)
        if tolerance < 0:
            raise ConfigError(f"Expected `tolerance` to be at least 0, but got {tolerance}.")
        super().__init__(**kwargs)
        self.tolerance = tolerance
        self._best: float | None = None

    @property
    def state_key(self) -> str:
        """The same before and after the main metric is known."""
        return f"{type(self).__qualname__}[{self.filename}]"

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the folder for the checkpoints, and the metric, when training starts."""
        self._fitting = stage == "fit"
        if self._fitting:
            if self.monitor in (MAIN_METRIC, MAIN_METRIC + SMOOTHED):
                self.monitor, higher = metric_of(self.monitor, pl_module)
                self.mode = "max" if higher else "min"
                self.kth_value = torch.tensor(-torch.inf if higher else torch.inf)
            super().setup(trainer, pl_module, stage)

    def check_monitor_top_k(self, trainer: Trainer, current: Tensor | None = None) -> bool:
        """Whether the model is to be kept: it is as good as the best so far, up to the tolerance."""
        if current is None or not current.isfinite():
            return super().check_monitor_top_k(trainer, current)
        if self.save_top_k != 1:
            return super().check_monitor_top_k(trainer, current) or bool(current == self.best_model_score)
        sign, value = 1 if self.mode == "max" else -1, current.item()
        self._best = value if self._best is None else sign * max(sign * value, sign * self._best)
        as_good = sign * (self._best - value) <= self.tolerance * abs(self._best)
        return trainer.strategy.reduce_boolean_decision(as_good)  # saving is for all processes, as in Lightning's own

    def state_dict(self) -> dict[str, Any]:
        """Also the best metric so far, which need not be that of the model that is kept."""
        return {**super().state_dict(), "best": self._best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a training run's state when training goes on with the same metric; another one begins anew."""
        if self._fitting and state_dict["monitor"] == self.monitor:
            super().load_state_dict(state_dict)
            if self.best_k_models:
                self._best = state_dict.get("best")
            else:  # a run that goes on in another folder, where nothing is kept yet
                self.best_model_path = ""


class LastCheckpoint(BestCheckpoint):
    """Keep `last.ckpt`, the model after the last validation, or the last epoch where nothing is validated.

    `save_last` of Lightning's `ModelCheckpoint` is written only along with a new best one (lightning 2.6), so that a
    run which got worse could not go on from where it was.
    """

    def __init__(self) -> None:
        super().__init__(filename="last", monitor=None, save_top_k=1, enable_version_counter=False)
