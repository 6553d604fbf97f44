"""Keeps the best and the last model of a training run."""

from typing import Any, cast

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from fusionlit.models import FusionModule

MAIN_METRIC = "val/main_metric"
"""Stands for the main metric of the model's task: `val/accuracy`, say."""


class BestCheckpoint(ModelCheckpoint):
    """Lightning's `ModelCheckpoint`, which knows the main metric, and of equal models keeps the latest.

    `monitor="val/main_metric"` follows the main metric of the task, whichever way is better. A validation split of few
    samples gives the same accuracy in many epochs; of these the last has learned longest. The validation loss chooses
    worse: it is lowest long before the accuracy is best, since a network grows too sure of itself
    (`benchmarks/recipe.py`).

    It minds its own state only while training. A test of a checkpoint writes none, so that where the training run kept
    its own is no matter to warn of.
    """

    _fitting = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the folder for the checkpoints, and the metric, when training starts."""
        self._fitting = stage == "fit"
        if self._fitting:
            if self.monitor == MAIN_METRIC:
                task = cast(FusionModule, pl_module).task
                self.monitor = f"val/{task.main_metric}"
                self.mode = "max" if task.higher_is_better else "min"
                self.kth_value = torch.tensor(-torch.inf if task.higher_is_better else torch.inf)
            super().setup(trainer, pl_module, stage)

    def check_monitor_top_k(self, trainer: Trainer, current: Tensor | None = None) -> bool:
        """Whether the model is to be kept: it is better than one that is, or as good as the best."""
        better: bool = super().check_monitor_top_k(trainer, current)
        as_good = current is not None and self.best_model_score is not None and current == self.best_model_score
        return better or bool(as_good)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a training run's state when training goes on."""
        if self._fitting:
            super().load_state_dict(state_dict)


class LastCheckpoint(BestCheckpoint):
    """Keep `last.ckpt`, the model after the last validation, or the last epoch where nothing is validated.

    `save_last` of Lightning's `ModelCheckpoint` is written only along with a new best one (lightning 2.6), so that a
    run which got worse could not go on from where it was.
    """

    def __init__(self) -> None:
        super().__init__(filename="last", monitor=None, save_top_k=1, enable_version_counter=False)
