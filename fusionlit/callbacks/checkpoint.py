"""Keeps the best and the last model of a training run."""

from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint


class BestCheckpoint(ModelCheckpoint):
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


class LastCheckpoint(BestCheckpoint):
    """Keep `last.ckpt`, the model after the last validation, or the last epoch where nothing is validated.

    `save_last` of Lightning's `ModelCheckpoint` is written only along with a new best one (lightning 2.6), so that a
    run which got worse could not go on from where it was.
    """

    def __init__(self) -> None:
        super().__init__(filename="last", monitor=None, save_top_k=1, enable_version_counter=False)
