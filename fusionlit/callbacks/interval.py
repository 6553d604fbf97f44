"""Logging interval for short epochs."""

from math import ceil, inf

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info


class LoggingInterval(Callback):
    """Lower the trainer's `log_every_n_steps` to the number of optimizer steps per epoch, if an epoch has fewer.

    With four steps per epoch, Lightning's default of 50 would log rarely and warn in every run. The command line adds
    this callback unless `--trainer.log_every_n_steps` is given.
    """

    def __init__(self) -> None:
        self._usual: int | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Suppress Lightning's warning, which comes before training starts and the steps are known."""
        if stage == "fit":
            usual: int = trainer.log_every_n_steps  # type: ignore[attr-defined]  # set in its constructor
            self._usual = usual if self._usual is None else self._usual
            trainer.log_every_n_steps = min(self._usual, 1)  # type: ignore[attr-defined]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set the interval, and log it if it changed."""
        usual, batches = self._usual or 0, trainer.num_training_batches
        steps = usual if batches == inf else ceil(batches / trainer.accumulate_grad_batches)
        trainer.log_every_n_steps = min(usual, steps)  # type: ignore[attr-defined]
        if steps < usual and trainer.loggers:
            rank_zero_info(
                f"`log_every_n_steps` is {steps} instead of {usual}, the number of optimizer steps per epoch"
                " (set --trainer.log_every_n_steps to change it)."
            )
