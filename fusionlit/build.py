"""From YAML and flags to a trainer, a strategy and a data module: LightningCLI with fusionlit's links and callbacks."""

from argparse import ArgumentError
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from importlib import import_module
from inspect import signature
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch
from jsonargparse import Namespace
from lightning import Callback, LightningModule, Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import ModelCheckpoint, ProgressBar, TQDMProgressBar
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.utilities import rank_zero_info

import fusionlit.data
import fusionlit.models  # noqa: F401 (importing makes the short class names known)
from fusionlit.callbacks import (
    BestCheckpoint,
    EfficiencyMonitor,
    FusionGain,
    FusionWeightLogger,
    LastCheckpoint,
    LoggingInterval,
    PredictionWriter,
    SmoothedMetric,
    TrainingLength,
)
from fusionlit.callbacks.smoothing import MAIN_METRIC, SMOOTHED
from fusionlit.data import FusionDataModule
from fusionlit.errors import ConfigError
from fusionlit.models import FusionModule
from fusionlit.models.hparams import MAY_CHANGE, without_initial_files
from fusionlit.models.trust import check_checkpoint, check_configuration, imported
from fusionlit.parser import FusionParser, causes
from fusionlit.types import Shape

REFRESH_RATE = 10
"""Batches between two drawings of the progress bar; Lightning's default takes more of a step (`benchmarks/loop.py`)."""
IMPORTS = "Modules with classes of your own that a checkpoint names and nothing else on the command line does."
MEASURING = ("validate", "test", "predict")
"""Commands that need a network which is trained."""


class SaveFitConfig(SaveConfigCallback):
    """Save the whole configuration beside a training run; a test of that run leaves it as it is."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Save only when training starts.

        Raises:
            ConfigError: If another run's configuration lies there, and this run does not go on from its checkpoint.
        """
        if stage != "fit":
            return
        folder = Path(trainer.log_dir or ".")
        # Looked up once, before it is written, so that all processes decide alike.
        taken = trainer.strategy.broadcast(trainer.is_global_zero and (folder / self.config_filename).exists())
        if taken and not self.overwrite:
            if not self._goes_on(trainer, folder):
                raise taken_folder(folder, "give its --ckpt_path")
            self.overwrite = True
        super().setup(trainer, pl_module, stage)

    def _goes_on(self, trainer: Trainer, folder: Path) -> bool:
        """Whether the run begins from a checkpoint of the run in the folder, and not of one in a folder below."""
        given = self.config.get("ckpt_path")
        own = [
            folder,
            folder / "checkpoints",
            *filter(None, (getattr(each, "dirpath", None) for each in trainer.checkpoint_callbacks)),
        ]
        return given is not None and Path(given).resolve().parent in [Path(each).resolve() for each in own]


def taken_folder(folder: Path, to_go_on: str) -> ConfigError:
    """What to say of a folder that holds a run."""
    return ConfigError(
        f"Expected a folder without a run, but {folder} holds one: choose another with the logger's save_dir, name or"
        f" version, or --trainer.default_root_dir; to go on with that run {to_go_on}."
    )


def untrained(folders: Sequence[Path]) -> ConfigError:
    """What to say where a trained network is missing: the checkpoints of runs in these folders, the newest first."""
    patterns = ("checkpoints/*.ckpt", "*/checkpoints/*.ckpt")
    found = {file.resolve(): file for folder in folders for pattern in patterns for file in folder.glob(pattern)}
    newest = sorted(found.values(), key=lambda file: file.stat().st_mtime, reverse=True)
    there_are = f"The newest are {', '.join(map(str, newest[:5]))}." if newest else "`fusionlit fit` writes some."
    return ConfigError(f"Expected --ckpt_path, since this network has never been trained. {there_are}")


class FusionCLI(LightningCLI):
    """`fit`, `validate`, `test` and `predict` of any strategy on any data.

    From Python `FusionCLI(run=False, args=...)` builds one run, its `trainer`, `model` and `datamodule`, of a
    configuration (a dict as in config.yaml) or a list of options. The command line is not looked at then.

    The data module's `modalities` and `target` are linked into the model, so that nobody types a size twice. A run
    trains as long as its `TrainingLength` says, unless `--trainer.max_epochs` is given; Lightning's own default is a
    thousand epochs. Every run has a `FusionWeightLogger` (`--fusion_weights.*`), a `FusionGain`, an
    `EfficiencyMonitor`, a `PredictionWriter`, and a `BestCheckpoint` (`--checkpoint.*`) that keeps `best.ckpt`, by the
    main metric of the task as a `SmoothedMetric` (`--smoothing.*`) has it, beside the `last.ckpt` of a
    `LastCheckpoint`; and, where `--trainer.log_every_n_steps` is not given, a `LoggingInterval`. Where training has
    nothing to validate on (`limit_val_batches: 0`, `RefitSplit`), callbacks that follow validation are left out.
    """

    _order: Sequence[str] = ()
    """The modalities of the checkpoint, in the order of its network."""

    def __init__(self, **kwargs: Any) -> None:  # noqa: ANN401 (LightningCLI's own arguments)
        super().__init__(
            FusionModule,
            FusionDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=SaveFitConfig,
            seed_everything_default=0,
            auto_configure_optimizers=False,
            parser_class=FusionParser,
            **kwargs,
        )

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Trainer, model and data; only the model can be left out, since a checkpoint names it too."""
        parser.add_lightning_class_args(self.trainer_class, "trainer")
        parser.add_lightning_class_args(FusionModule, "model", subclass_mode=True, required=False)
        parser.add_lightning_class_args(FusionDataModule, "data", subclass_mode=True)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Links, callbacks and imports."""
        # Not from "data.<name>": an error in the property would pass as None.
        links: dict[str, Callable[[Any], Any]] = {
            "modalities": lambda data: self._in_order(data.modalities),
            "target": attrgetter("target"),
        }
        for name, value in links.items():
            parser.link_arguments("data", f"model.init_args.{name}", value, apply_on="instantiate")
        parser.add_lightning_class_args(SmoothedMetric, "smoothing")
        parser.add_lightning_class_args(BestCheckpoint, "checkpoint")
        parser.set_defaults(
            {
                "checkpoint.filename": "best",
                "checkpoint.monitor": MAIN_METRIC + SMOOTHED,
                "smoothing.metric": MAIN_METRIC,
                "smoothing.window": 5,
                "checkpoint.auto_insert_metric_name": False,
                "checkpoint.enable_version_counter": False,
            }
        )
        parser.add_lightning_class_args(LastCheckpoint, "last_checkpoint")
        parser.add_lightning_class_args(FusionWeightLogger, "fusion_weights")
        parser.add_lightning_class_args(FusionGain, "fusion_gain")
        parser.add_lightning_class_args(EfficiencyMonitor, "efficiency")
        parser.add_lightning_class_args(PredictionWriter, "predictions")
        parser.add_argument("--imports", nargs="*", default=[], help=IMPORTS)

    def before_instantiate_classes(self) -> None:
        """Refuse to go on without a model, or with functions in the places of classes.

        Raises:
            ConfigError: If neither the command line nor a checkpoint names a model, or a function is named as a class.
        """
        if self._get(self.config, "model") is None:
            raise ConfigError(
                "Expected a model, but got none: give --model with a file (configs/model/centralnet.yaml) or a class"
                " (CentralNet), or for a trained one --ckpt_path."
            )
        for name in ("model", "data", "trainer"):
            check_configuration(self._get(self.config, name).as_dict(), name, saved=name == "model")

    def after_instantiate_classes(self) -> None:
        """Refuse to measure a network that has never been trained.

        Raises:
            ConfigError: If there is something to train in it, and no checkpoint; the message names those that lie near.
        """
        if self.subcommand not in MEASURING or self.config[self.subcommand].get("ckpt_path"):
            return
        if any(parameter.requires_grad for parameter in self.model.parameters()):
            given = [Path(str(file)).parent for file in self.config[self.subcommand].get("config") or []]
            root = Path(self.trainer.default_root_dir)
            raise untrained([*given, root, root / "lightning_logs"])

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse what was given in place of the command line; Lightning's own warns that there is one too."""
        if args is None:
            super().parse_arguments(parser, args)
        else:
            self.config = parser.parse_args(args) if isinstance(args, list) else parser.parse_object(args)
        command = self.config.get("subcommand")
        for name in (self.config[command] if command else self.config).imports:
            try:
                import_module(name)
            except ModuleNotFoundError as error:
                raise ConfigError(
                    f"Expected `imports` to name modules, but {name} cannot be imported: {error}."
                ) from error

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Callback]) -> Trainer:
        if config.get("enable_checkpointing") is False:
            callbacks = [callback for callback in callbacks if not isinstance(callback, ModelCheckpoint)]
        asked = config.get("callbacks") or []
        asked = asked if isinstance(asked, list) else [asked]
        if self.subcommand == "validate" and not self.datamodule.validates:
            config = {**config, "limit_val_batches": None}  # the data module refuses; a limit of 0 would be silent
        if self.subcommand in (None, "fit"):
            if not self.datamodule.validates:
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
        try:
            return super()._instantiate_trainer(config, callbacks)
        except (MisconfigurationException, ImportError, ValueError) as error:
            raise ConfigError(f"The trainer cannot be as its options (--trainer.*) ask: {error}") from error

    def _parse_ckpt_path(self) -> None:
        """Take from a checkpoint the model's arguments that the command line leaves open.

        Lightning's own lets the checkpoint replace all of them, and says nothing.

        Raises:
            ConfigError: If the file is no checkpoint, names what it must not (`models/trust.py`), or holds another
                model than the command line asks for.
        """
        command = self.config.get("subcommand")
        config = self.config.get(command) if command else None
        if config is None or not config.get("ckpt_path") or config.ckpt_path in ("best", "last", "hpc"):
            return
        self._order = [name for name, _ in read_checkpoint(Path(config.ckpt_path))["modalities"]]
        asked = config.get("model").clone() if config.get("model") else None
        self.parser.exit_on_error = False  # the parser would look up what the checkpoint says, to guess what was meant
        try:
            super()._parse_ckpt_path()
        except ArgumentError as error:
            raise ConfigError(
                f"{config.ckpt_path} holds a model that cannot be made: {' '.join(causes(str(error)))}"
            ) from error
        self.parser.exit_on_error = True
        if asked is not None:
            keep_what_was_asked(asked, self.config[command].model)

    def _in_order(self, modalities: dict[str, Shape]) -> dict[str, Shape]:
        """The data's modalities, in the checkpoint's order if there is one: weights depend on it."""
        return {name: modalities[name] for name in self._order if name in modalities} | modalities


def follows_validation(callback: Callback) -> bool:
    """Whether a callback has no use without validation: it says so, or follows one of its metrics."""
    return of_validation(type(callback), vars(callback))


def of_validation(cls: type, arguments: Mapping[str, Any]) -> bool:
    """The same of a callback that is not made yet: it has `needs_validation`, or a `monitor` or `metric` of `val/`."""
    followed = [str(arguments.get(name)) for name in ("monitor", "metric")]
    return getattr(cls, "needs_validation", False) or any(name.startswith("val/") for name in followed)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What a checkpoint of a strategy holds, once all that it names can be trusted.

    Raises:
        ConfigError: If the file is not there, holds something else, or cannot be trusted.
    """
    if not path.is_file():
        raise ConfigError(f"Expected `ckpt_path` to be a checkpoint, but there is no file {path}.")
    try:
        saved = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # whatever the file holds
        raise ConfigError(f"Expected `ckpt_path` to be a checkpoint, but {path} cannot be loaded ({error}).") from error
    check_checkpoint(saved, FusionModule, str(path))
    checkpoint: dict[str, Any] = saved
    return checkpoint


def keep_what_was_asked(asked: Namespace, model: Namespace) -> None:
    """Hold what the command line asked of a model against what the checkpoint has made of it.

    How it is trained (`training`, `task`) may change from a checkpoint on, and is as asked. Everything else must be as
    in the checkpoint, or left at its default.

    Raises:
        ConfigError: If the checkpoint holds another model.
    """
    if imported(asked.class_path) is not imported(model.class_path):
        raise ConfigError(
            f"The checkpoint holds a {model.class_path}, but the command line asks for a {asked.class_path}."
            " Give the model's own configuration, such as RUN/config.yaml."
        )
    strategy: Any = imported(model.class_path)
    defaults = {name: parameter.default for name, parameter in signature(strategy).parameters.items()}
    differences = []
    held_arguments = model.as_dict().get("init_args", {})
    for name, value in asked.as_dict().get("init_args", {}).items():
        held = held_arguments.get(name)
        if name in ("modalities", "target", "members") or value == plain(defaults.get(name)):
            continue
        if name in MAY_CHANGE:
            model.init_args[name] = asked.init_args[name]
        elif without_initial_files(plain(value)) != plain(held):
            differences.append(f"{name} is {plain(held)} in the checkpoint, but {plain(value)} on the command line")
    if differences:
        raise ConfigError(f"The checkpoint holds another model: {'; '.join(differences)}.")


def plain(value: Any) -> Any:  # noqa: ANN401 (any default or part of a configuration)
    """The value as a configuration file would have it."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value
