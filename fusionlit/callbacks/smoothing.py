"""Smooths a metric over epochs."""

from collections import deque
from statistics import mean
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from fusionlit.errors import ConfigError


class SmoothedMetric(Callback):
    """Log the mean of a metric over the last validations as `<metric>_smoothed`.

    What a noisy validation loss has by luck in one epoch then chooses no checkpoint: add the callback and
    `--checkpoint.monitor val/loss_smoothed`. EarlyStopping and `training.monitor` follow it as well. Before there were
    `window` validations it is the mean of those so far. A resumed run goes on with the values that it had.

    Args:
        metric: What validation logs, such as `val/loss`.
        window: Validations to take the mean of.

    Raises:
        ConfigError: If `window` is not positive, or at the first validation, if it does not log `metric`.
    """

    def __init__(self, metric: str = "val/loss", window: int = 3) -> None:
        if window < 1:
            raise ConfigError(f"Expected `window` to be at least 1, but got {window}.")
        self.metric = metric
        self._values: deque[float] = deque(maxlen=window)

    @property
    def state_key(self) -> str:
        """One state for each metric."""
        return f"{type(self).__qualname__}[{self.metric}]"

    def state_dict(self) -> dict[str, Any]:
        """The values that the next mean takes in."""
        return {"values": list(self._values)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take them over."""
        self._values.extend(state_dict["values"])

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget an earlier training; what a checkpoint holds is loaded after this."""
        if stage == "fit":
            self._values.clear()

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the mean, but not of the sanity check or of a `validate` run."""
        if trainer.sanity_checking or trainer.state.fn != TrainerFn.FITTING:
            return
        if self.metric not in trainer.callback_metrics:
            known = sorted(name for name in trainer.callback_metrics if name.startswith("val/"))
            raise ConfigError(f"Expected `metric` to be one that validation logs, {known}, but got {self.metric!r}.")
        self._values.append(trainer.callback_metrics[self.metric].item())
        pl_module.log(f"{self.metric}_smoothed", mean(self._values), sync_dist=True)
