"""Support for Lightning's weight averaging.

`trainer: callbacks: [EMAWeightAveraging]` (`init_args: {decay: 0.99}`) keeps an exponential moving average of all
weights and buffers. Validation uses the average, `best.ckpt` and `last.ckpt` load as the average, and training ends
with it; a resumed run continues with both. Contributions are those of the average; the logged fusion weights are the
weights being trained.
"""

from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging


def restart_averages(trainer: Trainer, module: LightningModule) -> None:
    """Restart averages from the module after setup: their copies are made earlier (lightning 2.6).

    Otherwise, validation before the first update would lack the input statistics.
    """
    for callback in trainer.callbacks:  # type: ignore[attr-defined]  # set in its constructor
        if isinstance(callback, WeightAveraging):
            callback.setup(trainer, module, "fit")


def keep_the_average(checkpoint: dict[str, Any]) -> None:
    """Test the average; after a fit, the callback would load the weights being trained (lightning 2.6)."""
    if "current_model_state" in checkpoint:
        checkpoint["current_model_state"] = checkpoint["state_dict"]
