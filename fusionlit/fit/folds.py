"""One training per fold, and the ensemble of the resulting models."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from fusionlit.cli.fusion_cli import FusionCLI, taken_folder
from fusionlit.cli.run import Config, rebuild_run
from fusionlit.console import quiet_lightning
from fusionlit.data import InnerFolds, RefitSplit
from fusionlit.errors import ConfigError, FusionlitError
from fusionlit.fit.rerun import (
    best_checkpoint,
    check_selects_checkpoint,
    chosen_checkpoint,
    configuration,
    in_folder,
    result_message,
    run_folder,
    with_split,
    without_selection,
)
from fusionlit.models.trust import own_modules

Fold = dict[str, Any]
ROW = "fold.json"
"""File that records the result of a finished fold."""
ENSEMBLE = "ensemble"
"""Folder of the ensemble in the run's folder."""


def check_folds(cli: FusionCLI, folds: int) -> None:
    """Check before any training that every fold can be trained and used.

    Raises:
        ConfigError: If there are fewer than two folds, a fold lacks a class, the run selects no checkpoint, starts from
            one, uses several processes or writes its split to a file, or its split cannot be replaced.
    """
    InnerFolds(getattr(cli.datamodule, "split", None), folds)
    check_selects_checkpoint(cli, "--folds")
    with_split(configuration(cli), cli.datamodule, InnerFolds)
    if cli.config["fit"].get("ckpt_path"):
        raise ConfigError("Expected --folds without --ckpt_path, since every fold trains from scratch.")
    if getattr(cli.datamodule, "write_split", None):
        raise ConfigError("Expected --folds without `write_split`, since every fold has its own split.")
    if cli.trainer.world_size > 1:
        raise ConfigError(f"Expected one process for --folds, but the trainer uses {cli.trainer.world_size}.")
    for fold in range(folds):
        config = with_split(configuration(cli), cli.datamodule, InnerFolds, folds=folds, fold=fold)
        try:
            with quiet_lightning():
                data = rebuild_run(config).datamodule
                data.prepare_data()
                data.setup("fit")
        except FusionlitError as error:
            raise ConfigError(f"Fold {fold + 1} of {folds} cannot be used; fewer folds may help. {error}") from error


def fit_folds(cli: FusionCLI, folds: int) -> None:
    """Train once per fold of the training and validation groups, and write the ensemble as one checkpoint.

    Training k is a separate run in the subfolder `fold<k>`: it validates on fold k and trains on the others; its best
    checkpoint becomes a member. The checkpoint of the `Ensemble` is in `ensemble/checkpoints`. The test split is not
    used.

    If the same command is repeated with the same folder (a logger's fixed `version`, or no logger), finished folds are
    kept and an interrupted one starts again. With the default logger, the folder is new, and all folds are trained.

    Args:
        cli: A `fit` that has not started.
        folds: Number of folds, K.

    Raises:
        ConfigError: If the folder contains another run.
    """
    run, config = run_folder(cli.trainer), configuration(cli)
    begin(cli, run)
    console = Console(width=None if sys.stdout.isatty() else 200)
    rows = []
    for fold in range(folds):
        folder = run / f"fold{fold}"
        if not (folder / ROW).exists():
            console.rule(f"fold {fold + 1} of {folds}")
            shutil.rmtree(folder, ignore_errors=True)
            row = train(cli, in_folder(config, run, folder.name, cli.trainer), folds, fold)
            (folder / ROW).write_text(json.dumps(row) + "\n")
        rows.append(json.loads((folder / ROW).read_text()))
    path = write_ensemble(cli, in_folder(config, run, ENSEMBLE, cli.trainer), run, rows)
    console.print(table(rows))
    console.print(
        result_message(f"The ensemble of {folds} folds", run / ENSEMBLE, path),
        soft_wrap=True,
        markup=False,
    )


def begin(cli: FusionCLI, run: Path) -> None:
    """Write the configuration, or continue the unfinished run of the same configuration.

    Raises:
        ConfigError: If the folder contains another run, or a finished one.
    """
    file, parser = run / "config.yaml", cli._parser("fit")
    if not file.exists():
        run.mkdir(parents=True, exist_ok=True)
        parser.save(cli.config["fit"], file, skip_none=False, multifile=False)
    elif (run / ENSEMBLE).exists() or file.read_text() != parser.dump(cli.config["fit"], skip_none=False):
        raise taken_folder(run, "before its ensemble is written, repeat the same command")


def train(cli: FusionCLI, config: Config, folds: int, fold: int) -> Fold:
    """Train one fold; returns its best checkpoint, with the monitored value and the main metric on the fold."""
    config = with_split(config, cli.datamodule, InnerFolds, folds=folds, fold=fold)
    run = rebuild_run(config)
    run.trainer.fit(run.model, run.datamodule)
    path, best = chosen_checkpoint(run.trainer), best_checkpoint(run.trainer)
    row: Fold = {"fold": fold, "checkpoint": str(path), "epochs": torch.load(path, weights_only=True)["epoch"] + 1}
    if best is not None and best.monitor is not None and best.best_model_score is not None:
        row[best.monitor] = float(best.best_model_score)
    run.trainer.loggers = []  # so that this validation is not added to the charts of the training
    metrics = run.trainer.validate(run.model, run.datamodule, ckpt_path=str(path), verbose=False)[0]
    main = f"val/{run.model.task.main_metric}"
    return row | {main: metrics[main]}


def write_ensemble(cli: FusionCLI, config: Config, run: Path, rows: list[Fold]) -> Path:
    """Write the checkpoint and the configuration of the ensemble."""
    config = without_selection(with_split(config, cli.datamodule, RefitSplit))
    members = [row["checkpoint"] for row in rows]
    config["imports"] = [*config["imports"], *own_modules(config["model"])]  # needed from now on to load the members
    config["model"] = {"class_path": "fusionlit.models.Ensemble", "init_args": {"members": members}}
    ensemble = rebuild_run(config)
    path = run / ENSEMBLE / "checkpoints" / "ensemble.ckpt"
    ensemble.trainer.strategy.connect(ensemble.model)
    ensemble.trainer.save_checkpoint(path, weights_only=True)
    ensemble.save(run / ENSEMBLE / "config.yaml")
    return path


def table(rows: list[Fold]) -> Table:
    """Metrics of each fold's best checkpoint on that fold, with mean and standard deviation."""
    columns = [key for key in rows[0] if key.startswith(("val/", "train/"))]
    view = Table(title=f"Best checkpoint of each of {len(rows)} folds, validated on that fold")
    for name in ("fold", "epochs", *columns):
        view.add_column(name, justify="right")
    for row in rows:
        view.add_row(str(row["fold"]), str(row["epochs"]), *(f"{row[column]:.4g}" for column in columns))
    values = torch.tensor([[row[column] for column in columns] for row in rows])
    cells = [f"{mean:.4g} ± {std:.2g}" for mean, std in zip(values.mean(0), values.std(0), strict=True)]
    view.add_section()
    view.add_row("mean", "", *cells)
    return view
