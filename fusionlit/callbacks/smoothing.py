"""Smooths a metric over epochs."""

from collections import deque
from statistics import mean
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from fusionlit.errors import ConfigError
from fusionlit.models import FusionModule

MAIN_METRIC = "val/main_metric"
"""Stands for the main metric of the model's task: `val/accuracy`, say."""
SMOOTHED = "_smoothed"
"""What the name of a mean over validations ends in."""


def metric_of(name: str, module: LightningModule) -> tuple[str, bool]:
    """The name of what `name` stands for with this model, and whether higher is better.

    Raises:
        ConfigError: If it is no model of fusionlit, whose task has a main metric.
    """
    if not isinstance(module, FusionModule):
        raise ConfigError(f"Expected a FusionModule for {name!r}, but got {type(module).__name__}: name the metric.")
    task = module.task
    return name.replace(MAIN_METRIC, f"val/{task.main_metric}"), task.higher_is_better


class SmoothedMetric(Callback):
    """Log the mean of a metric over the last validations as `<metric>_smoothed`.

    What a few validation subjects give by luck in one epoch then chooses no checkpoint: the command line chooses by the
    main metric's mean over five validations (`--smoothing.window`). EarlyStopping and `training.monitor` may follow it
    as well. Before there were `window` validations it is the mean of those so far. A resumed run goes on with the
    values that it had.

    Args:
        metric: What validation logs, such as `val/loss`; `val/main_metric` is the main metric of the task.
        window: Validations to take the mean of.

    Raises:
        ConfigError: If `window` is not positive, another one smooths the same metric, or at the first validation, if it
            does not log `metric`.
    """

    def __init__(self, metric: str = "val/loss", window: int = 3) -> None:
        if window < 1:
            raise ConfigError(f"Expected `window` to be at least 1, but got {window}.")
        self.metric = metric
        self._logged = metric
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
            self._logged = metric_of(self.metric, pl_module)[0] if self.metric == MAIN_METRIC else self.metric
            others = [each for each in trainer.callbacks if isinstance(each, SmoothedMetric) and each is not self]  # type: ignore[attr-defined]  # set in its constructor
            if any(each._logged == self._logged for each in others):
                raise ConfigError(
                    f"Expected one SmoothedMetric of {self._logged!r}, but there are two. The command line has one of"
                    " the main metric already: set its --smoothing.window."
                )

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the mean, but not of the sanity check or of a `validate` run."""
        if trainer.sanity_checking or trainer.state.fn != TrainerFn.FITTING:
            return
        if self._logged not in trainer.callback_metrics:
            known = sorted(name for name in trainer.callback_metrics if name.startswith("val/"))
            raise ConfigError(f"Expected `metric` to be one that validation logs, {known}, but got {self._logged!r}.")
        self._values.append(trainer.callback_metrics[self._logged].item())
        pl_module.log(self._logged + SMOOTHED, mean(self._values), sync_dist=True)
