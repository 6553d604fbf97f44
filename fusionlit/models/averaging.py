"""What Lightning's weight averaging needs of a model.

`trainer: callbacks: [EMAWeightAveraging]` (`init_args: {decay: 0.99}`) keeps an exponential moving average of all
weights and buffers. The average is what is validated, what `best.ckpt` and `last.ckpt` load as, alone too, and what
training ends with; a resumed run goes on with both. Contributions are of the average, logged fusion weights of the
weights in training.
"""

from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging


def restart_averages(trainer: Trainer, module: LightningModule) -> None:
    """Let averages begin from the module as it is set up: their copies are made before that (lightning 2.6).

    Else a validation before the first update would lack the input statistics.
    """
    for callback in trainer.callbacks:  # type: ignore[attr-defined]  # set in its constructor
        if isinstance(callback, WeightAveraging):
            callback.setup(trainer, module, "fit")


def keep_the_average(checkpoint: dict[str, Any]) -> None:
    """Have the average tested; after a fit, the callback would load the weights in training (lightning 2.6)."""
    if "current_model_state" in checkpoint:
        checkpoint["current_model_state"] = checkpoint["state_dict"]
