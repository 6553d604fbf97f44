"""Trainer arguments and callbacks that every run gets in addition to the configured ones."""

from collections.abc import Mapping
from typing import Any

from lightning import Callback
from lightning.pytorch.callbacks import ModelCheckpoint, ProgressBar, TQDMProgressBar
from lightning.pytorch.utilities import rank_zero_info

from fusionlit.callbacks import LoggingInterval, TrainingLength

REFRESH_RATE = 10
"""Batches between progress bar updates; Lightning's default costs more time per step (`benchmarks/loop.py`)."""


def with_our_callbacks(
    config: dict[str, Any], callbacks: list[Callback], command: str | None, validates: bool
) -> tuple[dict[str, Any], list[Callback]]:
    """Trainer arguments and additional callbacks for one command.

    Adds a cheap progress bar, a `TrainingLength` and a `LoggingInterval` unless configured otherwise. Without
    validation, callbacks that depend on it are removed.

    Args:
        config: Trainer arguments.
        callbacks: Callbacks of every run.
        command: Name of the command, such as `fit`; None for a run built in Python.
        validates: Whether the data has a validation split.
    """
    if config.get("enable_checkpointing") is False:
        callbacks = [callback for callback in callbacks if not isinstance(callback, ModelCheckpoint)]
    asked = config.get("callbacks") or []
    asked = asked if isinstance(asked, list) else [asked]
    if command == "validate" and not validates:
        config = {
            **config,
            "limit_val_batches": None,
        }  # so that the data module raises its error; a limit of 0 would be silent
    if command in (None, "fit"):
        if not validates:
            config = {**config, "limit_val_batches": 0}
        if config.get("limit_val_batches") == 0:
            left_out = [type(each).__name__ for each in (*asked, *callbacks) if follows_validation(each)]
            if left_out:
                rank_zero_info(f"This run has no validation and therefore leaves out: {', '.join(left_out)}.")
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
    """Whether a callback depends on validation: it declares `needs_validation`, or follows a validation metric."""
    return class_follows_validation(type(callback), vars(callback))


def class_follows_validation(cls: type, arguments: Mapping[str, Any]) -> bool:
    """Like `follows_validation`, before instantiation: `needs_validation`, or a `monitor` or `metric` in `val/`."""
    followed = [str(arguments.get(name)) for name in ("monitor", "metric")]
    return getattr(cls, "needs_validation", False) or any(name.startswith("val/") for name in followed)
