"""Learning rate schedules that end with training."""

from collections.abc import Callable
from functools import partial
from inspect import isclass, signature
from math import ceil, cos, inf, pi
from typing import Any, Literal, cast

from lightning import Trainer
from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LinearLR, LRScheduler, OneCycleLR, PolynomialLR

from fusionlit.errors import ConfigError
from fusionlit.models.hparams import partial_class

Interval = Literal["epoch", "step"]
LENGTHS = ("T_max", "total_steps", "total_iters")
"""Argument names of a scheduler's length; if it is omitted, the trainer's length is used."""
WARMING_UP = (LinearLR, ConstantLR)
"""Schedulers whose `total_iters` is the length of a warm-up, which may end before training does."""


class WarmupCosine(LRScheduler):
    """Linear warm-up, then cosine decay to the last step of training.

    With T = `total_steps` and W = round(`warmup` T), the learning rate before step t = 0, ..., T - 1 is its peak times
    `(t + 1) / (W + 1)` for t < W, and `final + (1 - final) (1 + cos(pi (t - W) / (T - W))) / 2` after that. With
    `warmup: 0` it is a pure cosine. It steps once per optimizer step unless `interval: epoch` is set; then T and t
    count epochs. A resumed run continues at its step of the schedule as now configured.

    Source: Loshchilov and Hutter, "SGDR: Stochastic gradient descent with warm restarts", 2017 (arXiv 1608.03983);
    the warm-up: Goyal et al., "Accurate, large minibatch SGD", 2017 (arXiv 1706.02677).

    Args:
        optimizer: The optimizer; its learning rate is the peak.
        warmup: Share of training in which the rate rises, in [0, 1).
        final: Final rate as a share of the peak, in [0, 1].
        total_steps: Steps (or epochs) of training; default: the trainer's.
        last_epoch: Last completed step of the schedule; -1 for a new one.

    Raises:
        ConfigError: If a share is out of range, or `total_steps` is not positive or cannot be taken from a trainer.
    """

    interval: Interval = "step"

    def __init__(
        self,
        optimizer: Optimizer,
        warmup: float = 0.1,
        final: float = 0.0,
        total_steps: int | None = None,
        last_epoch: int = -1,
    ) -> None:
        if not 0 <= warmup < 1:
            raise ConfigError(f"Expected `warmup` to be a share of the training in [0, 1), but got {warmup}.")
        if not 0 <= final <= 1:
            raise ConfigError(f"Expected `final` to be a share of the peak in [0, 1], but got {final}.")
        if total_steps is None or total_steps < 1:
            raise ConfigError(
                f"Expected `total_steps` to be at least 1, but got {total_steps}. In a model's"
                " `training.scheduler` it may be left out: the trainer sets it."
            )
        self.warmup = warmup
        self.final = final
        self.total_steps = total_steps
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float | Tensor]:
        """Rate of each group at the current step."""
        rise = round(self.warmup * self.total_steps)
        done = self.last_epoch - rise
        if done < 0:
            share = (self.last_epoch + 1) / (rise + 1)
        else:
            fall = min(done / (self.total_steps - rise), 1.0)
            share = self.final + (1 - self.final) * (1 + cos(pi * fall)) / 2
        return [peak * share for peak in self.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        """Current step of the schedule; its form is configuration."""
        return {"last_epoch": self.last_epoch, "base_lrs": self.base_lrs, "_step_count": self._step_count}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the step, and set the learning rate of the schedule at that step."""
        super().load_state_dict(state_dict)
        self._last_lr = self.get_lr()
        for group, rate in zip(self.optimizer.param_groups, self._last_lr, strict=True):
            group["lr"] = rate


def own_interval(scheduler: object) -> Interval:
    """Whether a scheduler, or a factory of one, steps once per epoch or per optimizer step by default."""
    cls = scheduler_class(scheduler)
    return "step" if OneCycleLR in (cls, type(scheduler)) else getattr(cls, "interval", "epoch")


def open_length(scheduler: Callable[..., Any]) -> str | None:
    """Name of the argument for a scheduler's length, if it is omitted; None otherwise, or if the class is unknown."""
    cls = scheduler_class(scheduler)
    given = scheduler.keywords if isinstance(scheduler, partial) else {}
    arguments = signature(cls).parameters if isclass(cls) else {}
    if given.get("epochs") is not None:  # of OneCycleLR, with `steps_per_epoch`
        return None
    if isclass(cls) and issubclass(cls, WARMING_UP):
        return None
    return next((name for name in LENGTHS if name in arguments and given.get(name) is None), None)


def scheduler_class(scheduler: object) -> object:
    """The class in a partial, or the argument itself."""
    return partial_class(scheduler)[0] if isinstance(scheduler, partial) else scheduler


def training_length(trainer: Trainer, interval: Interval) -> int | None:
    """Epochs or optimizer steps until the trainer's `max_epochs` or `max_steps`, whichever comes first, or None.

    `trainer.estimated_stepping_batches` is the same for steps, but reading it in `configure_optimizers` makes a resumed
    run lose the state of its loader (lightning 2.6).
    """
    epochs = inf if trainer.max_epochs in (None, -1) else max(trainer.max_epochs, 1)
    steps = inf if trainer.max_steps == -1 else trainer.max_steps
    length, other = (epochs, steps) if interval == "epoch" else (steps, epochs)
    if other != inf:
        per_epoch = batches(trainer) / trainer.accumulate_grad_batches
        per_epoch = per_epoch if per_epoch == inf else ceil(per_epoch)
        length = min(length, max(ceil(steps / per_epoch), 1) if interval == "epoch" else epochs * per_epoch)
    return None if length == inf else int(length)


def batches(trainer: Trainer) -> float:
    """Training batches per epoch and process; infinite if the loader has no length."""
    if trainer.train_dataloader is None:
        with isolate_rng():  # counting must not change the batches of the run
            trainer.fit_loop.setup_data()
        trainer.fit_loop.teardown()
        # Forces a new setup: only then does a resumed run load the state of its loader.
        trainer.fit_loop._combined_loader = None
    return trainer.num_training_batches


def check_length(scheduler: Callable[..., Any], length: int | None, interval: Interval) -> int:
    """The length to pass to the scheduler.

    Raises:
        ConfigError: If it is None.
    """
    if length is None:
        name = getattr(scheduler_class(scheduler), "__name__", "the scheduler")
        raise ConfigError(
            f"Expected `max_epochs` or `max_steps` of the trainer for the number of {interval}s, since"
            f" `{open_length(scheduler)}` of {name} is not given, but neither is set. Set one of them"
            " (`--trainer.max_epochs 20`; data without a length need `max_steps`), or"
            f" `{open_length(scheduler)}`."
        )
    return length


AFTERWARDS: dict[type, tuple[str, str]] = {
    CosineAnnealingLR: ("T_max", "rises again afterwards"),
    OneCycleLR: ("total_steps", "is undefined afterwards, which ends the run with an error"),
    PolynomialLR: ("total_iters", "stays at 0 afterwards"),
    WarmupCosine: ("total_steps", "stays at its last value afterwards"),
}
"""Name of a scheduler's length, and what the learning rate does after it."""


def warn_of_misfit(trainer: Trainer) -> None:
    """Warn if a scheduler of the trainer does not end with training."""
    short = trainer.fast_dev_run  # type: ignore[attr-defined]  # set in its constructor
    for config in () if short else trainer.lr_scheduler_configs:
        interval = cast(Interval, config.interval)
        if message := misfit(config.scheduler, training_length(trainer, interval), interval):
            rank_zero_warn(message)


def misfit(scheduler: object, length: int | None, interval: Interval) -> str | None:
    """Warning if a scheduler does not end with training, else None."""
    argument, afterwards = AFTERWARDS.get(type(scheduler), ("total_iters", ""))
    given = getattr(scheduler, argument, None)
    warms_up = isinstance(scheduler, WARMING_UP)  # these may end before training
    if length is None or given in (None, length) or not (afterwards or warms_up) or (warms_up and given < length):
        return None
    what = afterwards if given < length else "does not reach its final value"
    advice = f"Set `{argument}: {length}`"
    if not warms_up:
        advice += ", or use WarmupCosine, which takes it from the trainer (`warmup: 0` for a pure cosine)"
    return (
        f"{type(scheduler).__name__} has `{argument}` = {given} {interval}s, but the trainer trains {length}: the"
        f" learning rate {what}. {advice}."
    )
