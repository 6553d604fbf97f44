"""Keeps the best and the last model of a training run."""

from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint


class FitCheckpoint(ModelCheckpoint):
    """Lightning's `ModelCheckpoint`, which minds its own state only while training.

    A test of a checkpoint writes none, so that where the training run kept its own is no matter to warn of.
    """

    _fitting = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the folder for the checkpoints when training starts."""
        self._fitting = stage == "fit"
        if self._fitting:
            super().setup(trainer, pl_module, stage)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a training run's state when training goes on."""
        if self._fitting:
            super().load_state_dict(state_dict)
