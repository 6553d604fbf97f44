"""Changes to a run's configuration for a further run: another folder and another split."""

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
from fusionlit.cli.trainer import class_follows_validation
from fusionlit.data import FractionSplit, FusionDataModule, GroupSplit, OfficialSplit
from fusionlit.errors import ConfigError
from fusionlit.models.hparams import class_path

COMMAND_OPTIONS = ("ckpt_path", "weights_only", "refit", "folds")
"""Options of `fusionlit fit` that are not part of a single run."""
SELECTING = (EarlyStopping, ModelCheckpoint, Timer)
"""Callbacks that end a run or select a checkpoint; a run without selection leaves them out."""


def run_folder(trainer: Trainer) -> Path:
    """Folder of the trainer's run."""
    return Path(trainer.log_dir or ".")


def configuration(cli: FusionCLI) -> Config:
    """Whole configuration of the command's run."""
    return {key: value for key, value in whole_config(cli).items() if key not in COMMAND_OPTIONS}


def in_folder(config: Config, run: Path, name: str, trainer: Trainer) -> Config:
    """The configuration with all output redirected to the subfolder `name` of a run.

    TensorBoard and CSV loggers write there as a separate version. Other loggers get the folder as `save_dir`, if they
    have this argument, and start a new run.

    Args:
        config: Configuration of the run.
        run: Folder of the run.
        name: Name of the subfolder.
        trainer: Trainer of the run; the kind of its logger is used where the configuration names none.
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
    """The configuration with the data's split wrapped in another one.

    Args:
        config: Configuration of the run.
        data: Data module built from it.
        wrapper: Class of the other split, which takes the original one as `split`.
        arguments: Further arguments of the other split.

    Raises:
        ConfigError: If the data module has no argument `split` that takes a `GroupSplit`, or chooses its split itself.
    """
    given = config["data"].get("init_args") or {}
    split = given.get("split")
    if "split" not in given or not (split is None or isinstance(split, dict)):
        raise ConfigError(
            f"Expected a data module whose split can be replaced, but {type(data).__name__} has no argument `split:"
            " GroupSplit | None`. Add it, store it as `self.split`, and get the groups of each split from its"
            " `assign(groups)`, as GroupedDataModule does."
        )
    own = getattr(data, "split", None)
    if split is None and not _is_default(own):
        raise ConfigError(
            f"Expected the configuration to name the split, but {type(data).__name__} chooses {own} by default: set"
            " --data.split to it."
        )
    inner = {"class_path": class_path(wrapper), "init_args": {"split": split, **arguments}}
    changes = {"split": inner} | {key: None for key in given if key == "write_split"}
    return {**config, "data": {**config["data"], "init_args": {**given, **changes}}}


def without_selection(config: Config) -> Config:
    """The configuration without validation, and without callbacks that depend on it or end the run."""
    callbacks = []
    for each in _listed(config["trainer"]["callbacks"]):
        cls = cast(type, locate(each["class_path"]))
        if not issubclass(cls, SELECTING) and not class_follows_validation(cls, _arguments(each)):
            callbacks.append(each)
    settings = {"limit_val_batches": 0, "callbacks": callbacks, "max_time": None, "max_steps": -1}
    settings |= {"min_epochs": None, "min_steps": None}
    checkpoint = {**config["checkpoint"], "monitor": None, "save_top_k": 0, "save_last": None}
    return {**config, "trainer": {**config["trainer"], **settings}, "checkpoint": checkpoint}


def check_selects_checkpoint(cli: FusionCLI, option: str) -> None:
    """Raise ConfigError unless the run selects a checkpoint.

    Raises:
        ConfigError: If it writes no checkpoints, or does not validate.
    """
    fast: bool = cli.trainer.fast_dev_run  # type: ignore[attr-defined]  # set in Trainer.__init__
    if fast or best_checkpoint(cli.trainer) is None:
        raise ConfigError(
            f"Expected a run that selects a checkpoint for {option}, but this one does not: leave out"
            " `enable_checkpointing: false`, `fast_dev_run`, `limit_val_batches: 0` and `RefitSplit`."
        )


def best_checkpoint(trainer: Trainer) -> BestCheckpoint | None:
    """The callback that selects the best checkpoint, if there is one."""
    found = (each for each in trainer.checkpoint_callbacks if type(each) is BestCheckpoint)  # not a LastCheckpoint
    return next(found, None)


def chosen_checkpoint(trainer: Trainer) -> Path:
    """Path of the best checkpoint of a finished run.

    Raises:
        ConfigError: If the run did not select one.
    """
    best = best_checkpoint(trainer)
    if best is None or not best.best_model_path:
        raise ConfigError(
            f"Expected the run to select a checkpoint by {best and best.monitor!r}, but it did not. Check that this"
            " metric is logged, and is not NaN."
        )
    return Path(best.best_model_path)


def result_message(what: str, folder: Path, checkpoint: Path) -> str:
    """Message with the checkpoint of a trained model and the next command."""
    test = f"fusionlit test --config {folder / 'config.yaml'} --ckpt_path {checkpoint}"
    return f"{what} is in {checkpoint}. Next: {test}"


def sum_up(cli: FusionCLI) -> None:
    """Print the folder of a finished run, its best score and the next command."""
    trainer, best = cli.trainer, best_checkpoint(cli.trainer)
    run, what = run_folder(trainer), "The last model"  # evaluated in all processes, as Lightning requires
    kept = (getattr(each, "best_model_path", "") for each in (best, *trainer.checkpoint_callbacks))
    written = [path for path in kept if path]
    if not written or not trainer.is_global_zero:
        return
    if best is not None and best.best_model_path:
        epochs = torch.load(written[0], weights_only=True, map_location="cpu", mmap=True)["epoch"] + 1
        score = "" if best.best_model_score is None else f", {best.monitor} {float(best.best_model_score):.4g}"
        what = f"The best model (epochs: {epochs}{score})"
    rank_zero_info(f"The run is in {run}. {result_message(what, run, Path(written[0]))}")
    if cli.model.fusion_weights():
        rank_zero_info(f"How its fusion weights moved: fusionlit weights {run}")


def _is_default(split: object) -> bool:
    """Whether this is the split that a wrapper uses without one: see `default_split`."""
    return split is None or any(
        type(split) is type(x) and vars(split) == vars(x) for x in (FractionSplit(), OfficialSplit())
    )


def _listed(value: Any) -> list[Any]:  # noqa: ANN401 (one part of a configuration, several, or none)
    return value if isinstance(value, list) else [] if value is None else [value]


def _arguments(part: Config) -> Config:
    return part.get("init_args") or {}
