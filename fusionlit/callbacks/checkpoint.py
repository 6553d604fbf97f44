"""Keeps the best and the last model of a training run."""

from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from fusionlit.callbacks.smoothing import MAIN_METRIC, SMOOTHED, metric_of


class BestCheckpoint(ModelCheckpoint):
    """Lightning's `ModelCheckpoint`, which knows the main metric, and of equal models keeps the latest.

    `monitor="val/main_metric"` follows the main metric of the task, whichever way is better, and
    `"val/main_metric_smoothed"` its mean over some epochs, where a `SmoothedMetric` takes that. A validation split of
    few samples gives the same accuracy in many epochs; of these the last has learned longest. (The validation loss may
    be lowest long before the accuracy is best, since a network grows too sure of itself; `benchmarks/recipe.py`.)

    It minds its own state only while training. A test of a checkpoint writes none, so that where the training run kept
    its own is no matter to warn of.
    """

    _fitting = False

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
        """Whether the model is to be kept: it is better than one that is, or as good as the best."""
        better: bool = super().check_monitor_top_k(trainer, current)
        as_good = current is not None and self.best_model_score is not None and current == self.best_model_score
        return better or bool(as_good)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a training run's state when training goes on with the same metric; another one begins anew."""
        if self._fitting and state_dict["monitor"] == self.monitor:
            super().load_state_dict(state_dict)


class LastCheckpoint(BestCheckpoint):
    """Keep `last.ckpt`, the model after the last validation, or the last epoch where nothing is validated.

    `save_last` of Lightning's `ModelCheckpoint` is written only along with a new best one (lightning 2.6), so that a
    run which got worse could not go on from where it was.
    """

    def __init__(self) -> None:
        super().__init__(filename="last", monitor=None, save_top_k=1, enable_version_counter=False)
