"""The configuration of a run, changed for another one: in a folder of its own, with another split."""

from pathlib import Path
from pydoc import locate
from typing import Any, cast

import torch
from lightning import Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, Timer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_info

from fusionlit.callbacks import BestCheckpoint
from fusionlit.cli.fusion_cli import FusionCLI
from fusionlit.cli.run import Config, whole_config
from fusionlit.cli.trainer import of_validation
from fusionlit.data import FractionSplit, FusionDataModule, GroupSplit, OfficialSplit
from fusionlit.errors import ConfigError
from fusionlit.models.hparams import class_path

OF_THE_COMMAND = ("ckpt_path", "weights_only", "refit", "folds")
"""What `fusionlit fit` takes, and a single run does not."""
CHOOSING = (EarlyStopping, ModelCheckpoint, Timer)
"""Callbacks that end a run or choose from it; where all is chosen, they have nothing to do."""


def run_folder(trainer: Trainer) -> Path:
    """Where the trainer's run lies."""
    return Path(trainer.log_dir or ".")


def configuration(cli: FusionCLI) -> Config:
    """The whole configuration of the run that a command was to make."""
    return {key: value for key, value in whole_config(cli).items() if key not in OF_THE_COMMAND}


def in_folder(config: Config, run: Path, name: str, trainer: Trainer) -> Config:
    """The configuration with all that is written going to the folder `name` of a run.

    TensorBoard's and CSV loggers write there as a version of their own. Other loggers get the folder as `save_dir`,
    where they have one, and begin a run of their own.

    Args:
        config: The run's configuration.
        run: The run's folder.
        name: The folder in it.
        trainer: The run's trainer, whose loggers are taken where the configuration leaves them open.
    """

    def moved(logger: Any) -> Any:  # noqa: ANN401 (any part of a configuration)
        if not isinstance(logger, dict):  # None or True: Lightning's default
            kind = type(trainer.logger)
            logger = {"class_path": class_path(kind), "init_args": {}}
        given = logger.get("init_args") or {}
        kind = cast(type, locate(logger["class_path"]))
        if issubclass(kind, TensorBoardLogger | CSVLogger):
            own = {"save_dir": str(run), "name": "", "version": name} | {key: None for key in given if key == "sub_dir"}
        else:
            changes = {"save_dir": str(run / name), "version": None, "id": None}
            own = {key: value for key, value in changes.items() if key in given}
        return {**logger, "init_args": {**given, **own}}

    logger = config["trainer"]["logger"]
    callbacks = [
        {**each, "init_args": {**each["init_args"], "dirpath": None}} if "dirpath" in _arguments(each) else each
        for each in _listed(config["trainer"]["callbacks"])
    ]
    settings = {
        "default_root_dir": str(run / name),
        "logger": [moved(each) for each in _listed(logger) or [None]] if trainer.loggers else False,
        "callbacks": callbacks,
    }
    checkpoint = {**config["checkpoint"], "dirpath": None}
    return {**config, "trainer": {**config["trainer"], **settings}, "checkpoint": checkpoint}


def with_split(config: Config, data: FusionDataModule, wrapper: type[GroupSplit], **arguments: int) -> Config:
    """The configuration with the data's split inside another one.

    Args:
        config: The run's configuration.
        data: The data module that was made of it.
        wrapper: The other split; takes the data's own as `split`.
        arguments: Further arguments of the other split.

    Raises:
        ConfigError: If the data module has no argument `split` that takes a `GroupSplit`, or chooses its split itself.
    """
    given = config["data"].get("init_args") or {}
    split = given.get("split")
    if "split" not in given or not (split is None or isinstance(split, dict)):
        raise ConfigError(
            f"Expected a data module whose groups can be dealt anew, but {type(data).__name__} has no argument `split:"
            " GroupSplit | None`. Give it one, keep it as `self.split`, and take the groups of each split from its"
            " `assign(groups)`, as a GroupedDataModule does."
        )
    own = getattr(data, "split", None)
    if split is None and not _is_default(own):
        raise ConfigError(
            f"Expected the configuration to name the split, but {type(data).__name__} chooses {own} where none is"
            " given: set --data.split to it."
        )
    inner = {"class_path": class_path(wrapper), "init_args": {"split": split, **arguments}}
    changes = {"split": inner} | {key: None for key in given if key == "write_split"}
    return {**config, "data": {**config["data"], "init_args": {**given, **changes}}}


def without_choice(config: Config) -> Config:
    """The configuration of a run that chooses nothing: no validation, and nothing that follows it or ends the run."""
    callbacks = []
    for each in _listed(config["trainer"]["callbacks"]):
        cls = cast(type, locate(each["class_path"]))
        if not issubclass(cls, CHOOSING) and not of_validation(cls, _arguments(each)):
            callbacks.append(each)
    settings = {"limit_val_batches": 0, "callbacks": callbacks, "max_time": None, "max_steps": -1}
    settings |= {"min_epochs": None, "min_steps": None}
    checkpoint = {**config["checkpoint"], "monitor": None, "save_top_k": 0, "save_last": None}
    return {**config, "trainer": {**config["trainer"], **settings}, "checkpoint": checkpoint}


def check_chooses(cli: FusionCLI, option: str) -> None:
    """Refuse a run that chooses no checkpoint.

    Raises:
        ConfigError: If it writes none, or does not validate.
    """
    fast: bool = cli.trainer.fast_dev_run  # type: ignore[attr-defined]  # set in its constructor
    if fast or best_checkpoint(cli.trainer) is None:
        raise ConfigError(
            f"Expected a run that chooses a checkpoint for {option}, but this one writes none: leave out"
            " `enable_checkpointing: false`, `fast_dev_run`, `limit_val_batches: 0` and `RefitSplit`."
        )


def best_checkpoint(trainer: Trainer) -> BestCheckpoint | None:
    """What chooses the checkpoint, if anything does."""
    found = (each for each in trainer.checkpoint_callbacks if type(each) is BestCheckpoint)  # not a LastCheckpoint
    return next(found, None)


def chosen_checkpoint(trainer: Trainer) -> Path:
    """The checkpoint that a finished run has chosen.

    Raises:
        ConfigError: If it chose none.
    """
    best = best_checkpoint(trainer)
    if best is None or not best.best_model_path:
        raise ConfigError(
            f"Expected the run to choose a checkpoint by {best and best.monitor!r}, but it did not: is it logged, and a"
            " number?"
        )
    return Path(best.best_model_path)


def where_it_is(what: str, folder: Path, checkpoint: Path) -> str:
    """Where a network that was trained lies, and what to type next."""
    test = f"fusionlit test --config {folder / 'config.yaml'} --ckpt_path {checkpoint}"
    return f"{what} is in {checkpoint}. Next: {test}"


def sum_up(cli: FusionCLI) -> None:
    """Say where a run that has ended lies, what its best score was, and what to type next."""
    trainer, best = cli.trainer, best_checkpoint(cli.trainer)
    run, what = run_folder(trainer), "The last network"  # asked in all processes, as Lightning wants it
    kept = (getattr(each, "best_model_path", "") for each in (best, *trainer.checkpoint_callbacks))
    written = [path for path in kept if path]
    if not written or not trainer.is_global_zero:
        return
    if best is not None and best.best_model_path:
        epochs = torch.load(written[0], weights_only=True, map_location="cpu", mmap=True)["epoch"] + 1
        score = "" if best.best_model_score is None else f", {best.monitor} {float(best.best_model_score):.4g}"
        what = f"The chosen network (epochs: {epochs}{score})"
    rank_zero_info(f"The run is in {run}. {where_it_is(what, run, Path(written[0]))}")
    if cli.model.fusion_weights():
        rank_zero_info(f"How its fusion weights moved: fusionlit weights {run}")


def _is_default(split: object) -> bool:
    """Whether it is what a wrapper without a split takes: see `default_split`."""
    return split is None or any(
        type(split) is type(x) and vars(split) == vars(x) for x in (FractionSplit(), OfficialSplit())
    )


def _listed(value: Any) -> list[Any]:  # noqa: ANN401 (one part of a configuration, several, or none)
    return value if isinstance(value, list) else [] if value is None else [value]


def _arguments(part: Config) -> Config:
    return part.get("init_args") or {}
