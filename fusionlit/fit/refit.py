"""Training anew on training and validation, for as long as validation has chosen."""

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
    check_chooses,
    chosen_checkpoint,
    configuration,
    in_folder,
    run_folder,
    where_it_is,
    with_split,
    without_choice,
)
from fusionlit.models.schedules import open_length, scheduler_class

NAME = "refit"
"""The folder of the refit in that of the run."""


def check_refit(cli: FusionCLI) -> None:
    """Refuse before the first training what could not be refitted after it.

    Raises:
        ConfigError: If the run chooses no checkpoint, its groups cannot be dealt anew, its training needs a validation,
            or its folder holds a refit.
    """
    check_chooses(cli, "--refit")
    with_split(configuration(cli), cli.datamodule, RefitSplit)
    RefitSplit(getattr(cli.datamodule, "split", None))
    setup = cli.model.training_setup
    scheduler = scheduler_class(setup.scheduler)
    if isinstance(scheduler, type) and issubclass(scheduler, ReduceLROnPlateau) and setup.monitor.startswith("val/"):
        raise ConfigError(
            f"Expected a schedule for --refit that does not follow {setup.monitor}, since nothing is validated then,"
            f" but got {scheduler.__name__}: take WarmupCosine."
        )
    if scheduler is OneCycleLR and not open_length(setup.scheduler):
        raise ConfigError(
            "Expected OneCycleLR for --refit to take its length from the trainer, since training and validation have"
            " more steps per epoch, but got `total_steps`: leave it out."
        )
    if cli.model.balance is not None and cli.model.balance.needs_validation:
        raise ConfigError(
            f"Expected a balance for --refit that does not measure with the validation split, which is trained on then,"
            f" but got {type(cli.model.balance).__name__}: take another, or leave it out."
        )
    if ((folder := run_folder(cli.trainer) / NAME) / "config.yaml").exists():
        raise taken_folder(folder, "give its --config and --ckpt_path")


def refit(cli: FusionCLI) -> None:
    """Train from scratch, with the same seed, on training and validation for the epochs of the chosen checkpoint.

    An epoch in which the checkpoint was written counts as a whole one. The refit lies in `refit` in the folder of the
    run, and is a run of its own: `config.yaml` has the `RefitSplit` and the number of epochs, `last.ckpt` is the
    result. Nothing is validated; callbacks that follow validation, or could end the training early, are left out, and
    no temperature is fitted. Input statistics and class counts are those of training and validation. The test split
    stays untouched.

    Args:
        cli: A `fit` that has ended.
    """
    trainer, run = cli.trainer, run_folder(cli.trainer)
    epochs = 0
    if trainer.is_global_zero:
        epochs = torch.load(chosen_checkpoint(trainer), weights_only=True, map_location="cpu")["epoch"] + 1
    epochs = trainer.strategy.broadcast(epochs)
    rank_zero_info(f"Training anew on training and validation, as long as validation has chosen (epochs: {epochs}).")
    config = without_choice(with_split(in_folder(configuration(cli), run, NAME, trainer), cli.datamodule, RefitSplit))
    config["trainer"]["max_epochs"] = epochs
    again = rebuild_run(config)
    again.trainer.fit(again.model, again.datamodule)
    last = next(each for each in again.trainer.checkpoint_callbacks if isinstance(each, LastCheckpoint))
    path = Path(last.best_model_path)
    rank_zero_info(where_it_is(f"The network trained on training and validation (epochs: {epochs})", run / NAME, path))
