"""What the trainer of a run has beside what was asked for."""

from collections.abc import Mapping
from typing import Any

from lightning import Callback
from lightning.pytorch.callbacks import ModelCheckpoint, ProgressBar, TQDMProgressBar
from lightning.pytorch.utilities import rank_zero_info

from fusionlit.callbacks import LoggingInterval, TrainingLength

REFRESH_RATE = 10
"""Batches between two drawings of the progress bar; Lightning's default takes more of a step (`benchmarks/loop.py`)."""


def with_our_callbacks(
    config: dict[str, Any], callbacks: list[Callback], command: str | None, validates: bool
) -> tuple[dict[str, Any], list[Callback]]:
    """The trainer's arguments and the callbacks beside them, for one command.

    A progress bar that costs little, a `TrainingLength` and a `LoggingInterval` come where nothing else was asked for;
    without validation, what follows it goes.

    Args:
        config: The trainer's arguments.
        callbacks: Those of every run.
        command: `fit` and so on; None for a run that is made in Python.
        validates: Whether the data has a validation split.
    """
    if config.get("enable_checkpointing") is False:
        callbacks = [callback for callback in callbacks if not isinstance(callback, ModelCheckpoint)]
    asked = config.get("callbacks") or []
    asked = asked if isinstance(asked, list) else [asked]
    if command == "validate" and not validates:
        config = {**config, "limit_val_batches": None}  # the data module refuses; a limit of 0 would be silent
    if command in (None, "fit"):
        if not validates:
            config = {**config, "limit_val_batches": 0}
        if config.get("limit_val_batches") == 0:
            left_out = [type(each).__name__ for each in (*asked, *callbacks) if follows_validation(each)]
            if left_out:
                rank_zero_info(f"Nothing is validated, so there is no {', '.join(left_out)} in this run.")
            asked, callbacks = ([x for x in xs if not follows_validation(x)] for xs in (asked, callbacks))
            config = {**config, "callbacks": asked}
    bars = [each for each in asked if isinstance(each, ProgressBar)]
    if config.get("enable_progress_bar") is not False and not config.get("barebones") and not bars:
        callbacks = [*callbacks, TQDMProgressBar(refresh_rate=REFRESH_RATE)]
    if config.get("max_epochs") is None and config.get("max_steps") == -1 and config.get("max_time") is None:
        length = TrainingLength()
        config, callbacks = {**config, "max_epochs": length.epochs}, [*callbacks, length]
    if config.get("log_every_n_steps") is None:
        callbacks = [*callbacks, LoggingInterval()]
    return config, callbacks


def follows_validation(callback: Callback) -> bool:
    """Whether a callback has no use without validation: it says so, or follows one of its metrics."""
    return of_validation(type(callback), vars(callback))


def of_validation(cls: type, arguments: Mapping[str, Any]) -> bool:
    """The same of a callback that is not made yet: it has `needs_validation`, or a `monitor` or `metric` of `val/`."""
    followed = [str(arguments.get(name)) for name in ("monitor", "metric")]
    return getattr(cls, "needs_validation", False) or any(name.startswith("val/") for name in followed)
