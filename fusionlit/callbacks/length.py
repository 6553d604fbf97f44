"""Gives small data as many steps as it needs."""

from math import ceil, inf

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from fusionlit.errors import ConfigError


class TrainingLength(Callback):
    """Train `epochs` epochs, or as many more as `steps` optimizer steps take, up to `most`.

    Forty epochs of 40 samples are 80 steps of 32, in which a network learns next to nothing; of some thousand samples
    they are enough. The command line adds this callback unless `--trainer.max_epochs`, `max_steps` or `max_time` is
    given. Schedules that take their length from the trainer end with it.

    Args:
        steps: Optimizer steps to take at least.
        epochs: Epochs to train at least.
        most: Epochs to train at most, however few steps they have.

    Raises:
        ConfigError: If a number is not positive, or `most` is below `epochs`.
    """

    def __init__(self, steps: int = 1500, epochs: int = 40, most: int = 200) -> None:
        if min(steps, epochs) < 1 or most < epochs:
            raise ConfigError(
                f"Expected `steps` and `epochs` of at least 1, and `most` of at least `epochs`, but got {steps=},"
                f" {epochs=}, {most=}."
            )
        self.steps, self.epochs, self.most = steps, epochs, most

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Set the trainer's `max_epochs`, and say so in a line if it is not `epochs`."""
        if stage != "fit" or trainer.fast_dev_run:  # type: ignore[attr-defined]  # set in its constructor
            return
        trainer.fit_loop.setup_data()
        batches = trainer.num_training_batches
        per_epoch = 1 if batches == inf else max(1, ceil(batches / trainer.accumulate_grad_batches))
        wanted = self.epochs if batches == inf else ceil(self.steps / per_epoch)
        trainer.fit_loop.max_epochs = max(self.epochs, min(self.most, wanted))
        if trainer.max_epochs != self.epochs:
            rank_zero_info(
                f"Training {trainer.max_epochs} epochs of {per_epoch} optimizer steps (--trainer.max_epochs sets"
                " another number)."
            )
