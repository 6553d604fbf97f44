"""Moving average of a metric over epochs."""

from collections import deque
from statistics import mean
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from fusionlit.errors import ConfigError
from fusionlit.models import FusionModule

MAIN_METRIC = "val/main_metric"
"""Alias of the main metric of the model's task, such as `val/accuracy`."""
SMOOTHED = "_smoothed"
"""Suffix of the name of a moving average."""


def metric_of(name: str, module: LightningModule) -> tuple[str, bool]:
    """Name of the metric that the alias `name` denotes for this model, and whether higher is better.

    Raises:
        ConfigError: If the module is not a FusionModule.
    """
    if not isinstance(module, FusionModule):
        raise ConfigError(
            f"Expected a FusionModule for {name!r}, but got {type(module).__name__}: give the name of the metric."
        )
    task = module.task
    return name.replace(MAIN_METRIC, f"val/{task.main_metric}"), task.higher_is_better


class SmoothedMetric(Callback):
    """Log the mean of a metric over the last validations as `<metric>_smoothed`.

    A lucky epoch on a few validation subjects then does not determine the checkpoint: the command line selects by the
    mean of the main metric over five validations (`--smoothing.window`). EarlyStopping and `training.monitor` can
    follow it as well. With fewer than `window` validations, it is the mean of those so far. A resumed run continues
    with its previous values.

    Args:
        metric: Name of a validation metric, such as `val/loss`; `val/main_metric` is the main metric of the task.
        window: Number of validations to average.

    Raises:
        ConfigError: If `window` is not positive, another SmoothedMetric has the same metric, or, at the first
            validation, `metric` is not logged.
    """

    def __init__(self, metric: str = "val/loss", window: int = 3) -> None:
        if window < 1:
            raise ConfigError(f"Expected `window` to be at least 1, but got {window}.")
        self.metric = metric
        self._logged = metric
        self._values: deque[float] = deque(maxlen=window)

    @property
    def state_key(self) -> str:
        """Key of the state, one per metric."""
        return f"{type(self).__qualname__}[{self.metric}]"

    def state_dict(self) -> dict[str, Any]:
        """The values of the current window."""
        return {"values": list(self._values)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the values."""
        self._values.extend(state_dict["values"])

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Reset the state of an earlier run; a checkpoint's state is loaded later."""
        if stage == "fit":
            self._values.clear()
            self._logged = metric_of(self.metric, pl_module)[0] if self.metric == MAIN_METRIC else self.metric
            others = [each for each in trainer.callbacks if isinstance(each, SmoothedMetric) and each is not self]  # type: ignore[attr-defined]  # set in its constructor
            if any(each._logged == self._logged for each in others):
                raise ConfigError(
                    f"Expected one SmoothedMetric of {self._logged!r}, but got two. The command line already adds one"
                    " for the main metric: set its --smoothing.window."
                )

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the mean, except in the sanity check and in `validate` runs."""
        if trainer.sanity_checking or trainer.state.fn != TrainerFn.FITTING:
            return
        if self._logged not in trainer.callback_metrics:
            known = sorted(name for name in trainer.callback_metrics if name.startswith("val/"))
            raise ConfigError(
                f"Expected `metric` to be logged in validation (one of {known}), but got {self._logged!r}."
            )
        self._values.append(trainer.callback_metrics[self._logged].item())
        pl_module.log(self._logged + SMOOTHED, mean(self._values), sync_dist=True)
