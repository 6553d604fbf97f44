"""Training length that adapts to small data sets."""

from math import ceil, inf

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from fusionlit.errors import ConfigError


class TrainingLength(Callback):
    """Train for `epochs` epochs, or for more until `steps` optimizer steps are done, but for at most `most` epochs.

    Forty epochs are enough for a few thousand samples, but with 40 samples they are only 80 steps of up to 32 samples,
    too few to learn. The command line adds this callback unless `--trainer.max_epochs`, `max_steps` or `max_time` is
    given. Schedules that take their length from the trainer end with training.

    Args:
        steps: Minimum number of optimizer steps.
        epochs: Minimum number of epochs.
        most: Maximum number of epochs, even if they have fewer than `steps` steps.

    Raises:
        ConfigError: If a number is not positive, or `most` is below `epochs`.
    """

    def __init__(self, steps: int = 1500, epochs: int = 40, most: int = 200) -> None:
        if min(steps, epochs) < 1 or most < epochs:
            raise ConfigError(
                f"Expected `steps` and `epochs` to be at least 1, and `most` to be at least `epochs`, but got {steps=},"
                f" {epochs=}, {most=}."
            )
        self.steps, self.epochs, self.most = steps, epochs, most

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Set the trainer's `max_epochs`, and log it if it differs from `epochs`."""
        if stage != "fit" or trainer.fast_dev_run:  # type: ignore[attr-defined]  # set in its constructor
            return
        trainer.fit_loop.setup_data()
        batches = trainer.num_training_batches
        per_epoch = 1 if batches == inf else max(1, ceil(batches / trainer.accumulate_grad_batches))
        wanted = self.epochs if batches == inf else ceil(self.steps / per_epoch)
        trainer.fit_loop.max_epochs = max(self.epochs, min(self.most, wanted))
        if trainer.max_epochs != self.epochs:
            rank_zero_info(
                f"Training for {trainer.max_epochs} epochs of {per_epoch} optimizer steps (set --trainer.max_epochs to"
                " change it)."
            )
