"""Refit: training from scratch on training and validation data, for as many epochs as validation selected."""

from pathlib import Path

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau

from fusionlit.callbacks import LastCheckpoint
from fusionlit.cli.fusion_cli import FusionCLI, taken_folder
from fusionlit.cli.run import rebuild_run
from fusionlit.data import RefitSplit
from fusionlit.errors import ConfigError
from fusionlit.fit.rerun import (
    check_selects_checkpoint,
    chosen_checkpoint,
    configuration,
    in_folder,
    result_message,
    run_folder,
    with_split,
    without_selection,
)
from fusionlit.models.schedules import open_length, scheduler_class

NAME = "refit"
"""Folder of the refit in the run's folder."""


def check_refit(cli: FusionCLI) -> None:
    """Check before the first training that a refit is possible after it.

    Raises:
        ConfigError: If the run selects no checkpoint, its split cannot be replaced, its training needs validation, or
            its folder already contains a refit.
    """
    check_selects_checkpoint(cli, "--refit")
    with_split(configuration(cli), cli.datamodule, RefitSplit)
    RefitSplit(getattr(cli.datamodule, "split", None))
    setup = cli.model.training_setup
    scheduler = scheduler_class(setup.scheduler)
    if isinstance(scheduler, type) and issubclass(scheduler, ReduceLROnPlateau) and setup.monitor.startswith("val/"):
        raise ConfigError(
            f"Expected a scheduler for --refit that does not depend on {setup.monitor}, since a refit has no"
            f" validation, but got {scheduler.__name__}: use WarmupCosine."
        )
    if scheduler is OneCycleLR and not open_length(setup.scheduler):
        raise ConfigError(
            "Expected OneCycleLR for --refit to take its length from the trainer, since training and validation data"
            " have more steps per epoch, but got `total_steps`: leave it out."
        )
    if cli.model.balance is not None and cli.model.balance.needs_validation:
        raise ConfigError(
            f"Expected a balance for --refit that does not need validation data, since a refit trains on them, but got"
            f" {type(cli.model.balance).__name__}: use another, or leave it out."
        )
    if ((folder := run_folder(cli.trainer) / NAME) / "config.yaml").exists():
        raise taken_folder(folder, "pass its --config and --ckpt_path")


def refit(cli: FusionCLI) -> None:
    """Train from scratch on training and validation data, with the same seed, for the epochs of the best checkpoint.

    The epoch in which the checkpoint was written counts as a whole one. The refit is a separate run in the subfolder
    `refit`: its `config.yaml` has the `RefitSplit` and the number of epochs, its `last.ckpt` is the result. There is no
    validation; callbacks that depend on it, or could stop training early, are left out, and no temperature is fitted.
    Input statistics and class counts are computed over training and validation data. The test split is not used.

    Args:
        cli: A `fit` that has ended.
    """
    trainer, run = cli.trainer, run_folder(cli.trainer)
    epochs = 0
    if trainer.is_global_zero:
        epochs = torch.load(chosen_checkpoint(trainer), weights_only=True, map_location="cpu")["epoch"] + 1
    epochs = trainer.strategy.broadcast(epochs)
    rank_zero_info(
        f"Refit on training and validation data, for as many epochs as validation selected (epochs: {epochs})."
    )
    config = without_selection(
        with_split(in_folder(configuration(cli), run, NAME, trainer), cli.datamodule, RefitSplit)
    )
    config["trainer"]["max_epochs"] = epochs
    again = rebuild_run(config)
    again.trainer.fit(again.model, again.datamodule)
    last = next(each for each in again.trainer.checkpoint_callbacks if isinstance(each, LastCheckpoint))
    path = Path(last.best_model_path)
    rank_zero_info(
        result_message(f"The model refitted on training and validation data (epochs: {epochs})", run / NAME, path)
    )
