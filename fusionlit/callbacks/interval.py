"""Lets short epochs be logged."""

from math import ceil, inf

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info


class LoggingInterval(Callback):
    """Lower the trainer's `log_every_n_steps` to the optimizer steps of an epoch, where an epoch has fewer.

    Lightning's 50 would log nothing of a training that has four steps per epoch, and warn of it in every run. The
    command line adds this callback unless `--trainer.log_every_n_steps` is given.
    """

    def __init__(self) -> None:
        self._usual: int | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Keep Lightning from its warning, which comes before training starts, where the steps are known."""
        if stage == "fit":
            usual: int = trainer.log_every_n_steps  # type: ignore[attr-defined]  # set in its constructor
            self._usual = usual if self._usual is None else self._usual
            trainer.log_every_n_steps = min(self._usual, 1)  # type: ignore[attr-defined]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Choose, and say so in a line."""
        usual, batches = self._usual or 0, trainer.num_training_batches
        steps = usual if batches == inf else ceil(batches / trainer.accumulate_grad_batches)
        trainer.log_every_n_steps = min(usual, steps)  # type: ignore[attr-defined]
        if steps < usual and trainer.loggers:
            rank_zero_info(
                f"`log_every_n_steps` is {steps} and not {usual}, since an epoch has no more optimizer steps"
                " (--trainer.log_every_n_steps sets another)."
            )
