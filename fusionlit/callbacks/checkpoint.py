"""Checkpoints of the best and the last model."""

from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from fusionlit.callbacks.smoothing import MAIN_METRIC, SMOOTHED, metric_of
from fusionlit.errors import ConfigError


class BestCheckpoint(ModelCheckpoint):
    """`ModelCheckpoint` that can follow the task's main metric and keeps the latest of equally good models.

    `monitor="val/main_metric"` follows the main metric of the task, in its own direction, and
    `"val/main_metric_smoothed"` its mean over several epochs, which needs a `SmoothedMetric`.

    A few validation subjects cannot rank models that differ by one point of accuracy, and with a schedule that decays
    to zero, the last model is usually the best on other subjects. So the latest model is kept whose metric is within
    `tolerance` of the best so far: `|best - metric| <= tolerance * |best|`. A network that overfits leaves this range.
    (The validation loss can reach its minimum long before the accuracy is best, since networks become overconfident.
    `benchmarks/recipe.py` compares these choices.)

    State is restored only in training. Testing a checkpoint writes none, so it gives no warning that the training run
    saved to a different folder.

    Args:
        tolerance: Share of the best metric by which a later model may be worse. Requires `save_top_k=1`; otherwise
            models are ranked, and the latest is preferred only among equals.

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
        """Key of the state, the same before and after the main metric is known."""
        return f"{type(self).__qualname__}[{self.filename}]"

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Set the checkpoint folder and the metric when training starts."""
        self._fitting = stage == "fit"
        if self._fitting:
            if self.monitor in (MAIN_METRIC, MAIN_METRIC + SMOOTHED):
                self.monitor, higher = metric_of(self.monitor, pl_module)
                self.mode = "max" if higher else "min"
                self.kth_value = torch.tensor(-torch.inf if higher else torch.inf)
            super().setup(trainer, pl_module, stage)

    def check_monitor_top_k(self, trainer: Trainer, current: Tensor | None = None) -> bool:
        """Whether to keep the model: it is as good as the best so far, up to the tolerance."""
        if current is None or not current.isfinite():
            return super().check_monitor_top_k(trainer, current)
        if self.save_top_k != 1:
            return super().check_monitor_top_k(trainer, current) or bool(current == self.best_model_score)
        sign, value = 1 if self.mode == "max" else -1, current.item()
        self._best = value if self._best is None else sign * max(sign * value, sign * self._best)
        as_good = sign * (self._best - value) <= self.tolerance * abs(self._best)
        return trainer.strategy.reduce_boolean_decision(as_good)  # all processes must agree, as in Lightning's own

    def state_dict(self) -> dict[str, Any]:
        """State with the best metric so far, which may differ from that of the kept model."""
        return {**super().state_dict(), "best": self._best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state when training is resumed with the same metric; start anew with another."""
        if self._fitting and state_dict["monitor"] == self.monitor:
            super().load_state_dict(state_dict)
            if self.best_k_models:
                self._best = state_dict.get("best")
            else:  # resumed in another folder, which has no checkpoints yet
                self.best_model_path = ""


class LastCheckpoint(BestCheckpoint):
    """Keep `last.ckpt`, the model after the last validation, or after the last epoch without validation.

    Lightning's `save_last` is written only together with a new best checkpoint (lightning 2.6), so that a run that got
    worse could not be resumed from its last state.
    """

    def __init__(self) -> None:
        super().__init__(filename="last", monitor=None, save_top_k=1, enable_version_counter=False)
