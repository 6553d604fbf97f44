"""LightningCLI with fusionlit's links and callbacks: builds trainer, model and data module from YAML and options."""

from argparse import ArgumentError
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI, SaveConfigCallback

import fusionlit.data
import fusionlit.models  # noqa: F401 (importing makes the short class names known)
from fusionlit.callbacks import (
    BestCheckpoint,
    EfficiencyMonitor,
    FusionGain,
    FusionWeightLogger,
    LastCheckpoint,
    PredictionWriter,
    SmoothedMetric,
)
from fusionlit.callbacks.smoothing import MAIN_METRIC, SMOOTHED
from fusionlit.cli.checkpoint import check_heads, merge_model_arguments, read_checkpoint, untrained
from fusionlit.cli.parser import FusionParser, causes
from fusionlit.cli.trainer import with_our_callbacks
from fusionlit.data import FusionDataModule
from fusionlit.errors import ConfigError
from fusionlit.models import FusionModule
from fusionlit.models.schema import check_annotation
from fusionlit.models.trust import check_configuration, imported
from fusionlit.types import Modalities, TargetSpec

IMPORTS = "Modules of your own classes to import: needed if only the checkpoint names these classes."
MEASURING = ("validate", "test", "predict")
"""Commands that need a trained model."""


class SaveFitConfig(SaveConfigCallback):
    """Save the whole configuration in the folder of a training run; testing that run leaves it unchanged."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Save only when training starts, and only if the run writes logs or checkpoints.

        Raises:
            ConfigError: If the folder contains another run and this run does not continue from its checkpoint.
        """
        if stage != "fit" or not (trainer.loggers or trainer.checkpoint_callbacks):
            return
        folder = Path(trainer.log_dir or ".")
        # Checked by one process, before the file is written, so that all processes take the same decision.
        taken = trainer.strategy.broadcast(trainer.is_global_zero and (folder / self.config_filename).exists())
        if taken and not self.overwrite:
            if not self._goes_on(trainer, folder):
                raise taken_folder(folder, "pass its --ckpt_path")
            self.overwrite = True
        super().setup(trainer, pl_module, stage)

    def _goes_on(self, trainer: Trainer, folder: Path) -> bool:
        """Whether training starts from a checkpoint of the run in this folder (not of one in a subfolder)."""
        given = self.config.get("ckpt_path")
        own = [
            folder,
            folder / "checkpoints",
            *filter(None, (getattr(each, "dirpath", None) for each in trainer.checkpoint_callbacks)),
        ]
        return given is not None and Path(given).resolve().parent in [Path(each).resolve() for each in own]


def taken_folder(folder: Path, to_go_on: str) -> ConfigError:
    """Error for a folder that already contains a run."""
    return ConfigError(
        f"Expected a folder without a run, but {folder} contains one: choose another with the logger's save_dir, name"
        f" or version, or --trainer.default_root_dir; to continue that run {to_go_on}."
    )


class FusionCLI(LightningCLI):
    """`fit`, `validate`, `test` and `predict` for any fusion model and any data.

    In Python, `FusionCLI(run=False, args=...)` builds the `trainer`, `model` and `datamodule` of one run from a
    configuration (a dict as in config.yaml) or a list of options, and ignores the command line.

    The data module's `modalities` and `target` are linked into the model, so that no size is given twice. Without
    `--trainer.max_epochs`, `TrainingLength` sets the number of epochs (Lightning's default is 1000). Every run has a
    `FusionWeightLogger` (`--fusion_weights.*`), a `FusionGain`, an `EfficiencyMonitor`, a `PredictionWriter`, a
    `BestCheckpoint` (`--checkpoint.*`), which keeps `best.ckpt` by the task's main metric, smoothed by a
    `SmoothedMetric` (`--smoothing.*`), and a `LastCheckpoint`, which keeps `last.ckpt`; without
    `--trainer.log_every_n_steps` also a `LoggingInterval`. Training without validation (`limit_val_batches: 0`,
    `RefitSplit`) leaves out the callbacks that depend on it.
    """

    _saved: Mapping[str, Any] | None = None
    """Content of the checkpoint, if one was given."""

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
        """Add trainer, model and data; only the model is optional, since a checkpoint also names it."""
        parser.add_lightning_class_args(self.trainer_class, "trainer")
        parser.add_lightning_class_args(FusionModule, "model", subclass_mode=True, required=False)
        parser.add_lightning_class_args(FusionDataModule, "data", subclass_mode=True)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add links, callbacks and imports."""
        # Not linked from "data.<name>": an error in the property would be turned into None.
        links: dict[str, Callable[[Any], Any]] = {
            "modalities": lambda data: self._in_order(data.modalities),
            "target": self._target,
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
        """Check that a model is given, and that every class path names a class.

        Raises:
            ConfigError: If neither the command line nor a checkpoint names a model, or a class path names a function.
        """
        if self._get(self.config, "model") is None:
            raise ConfigError(
                "Expected a model, but got none: pass --model with a file (configs/model/centralnet.yaml) or a class"
                " (CentralNet), or --ckpt_path for a trained model."
            )
        for name in ("model", "data", "trainer"):
            check_configuration(self._get(self.config, name).as_dict(), name, saved=name == "model")

    def after_instantiate_classes(self) -> None:
        """Check that a model to evaluate has been trained, and that its unimodal heads match the checkpoint.

        Raises:
            ConfigError: If a model with trainable parameters is to be evaluated without a checkpoint (the message lists
                nearby ones), or the checkpoint has other heads.
        """
        if self._saved is not None:
            check_heads(self.model, self._saved, self.config[self.subcommand].ckpt_path)
            self._saved = None  # the trainer loads its weights
        if self.subcommand not in MEASURING or self.config[self.subcommand].get("ckpt_path"):
            return
        if any(parameter.requires_grad for parameter in self.model.parameters()):
            given = [Path(str(file)).parent for file in self.config[self.subcommand].get("config") or []]
            root = Path(self.trainer.default_root_dir)
            raise untrained([*given, root, root / "lightning_logs"])

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse `args`, or the command line if None, without Lightning's warning that both exist; import `imports`."""
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
        validates = self.datamodule.validates
        config, callbacks = with_our_callbacks(config, callbacks, self.subcommand, validates)
        try:
            return super()._instantiate_trainer(config, callbacks)
        except (MisconfigurationException, ImportError, ValueError) as error:
            raise ConfigError(f"The trainer cannot be built from its options (--trainer.*): {error}") from error

    def _parse_ckpt_path(self) -> None:
        """Take the model arguments that the command line leaves open from the checkpoint.

        Lightning's version silently replaces all of them.

        Raises:
            ConfigError: If the file is not a checkpoint, names something it must not (`models/trust.py`), or contains
                another model than the command line asks for.
        """
        command = self.config.get("subcommand")
        config = self.config.get(command) if command else None
        if config is None or not config.get("ckpt_path") or config.ckpt_path in ("best", "last", "hpc"):
            return
        self._saved = read_checkpoint(Path(config.ckpt_path))
        asked = config.get("model").clone() if config.get("model") else None
        self.parser.exit_on_error = False  # otherwise the parser would import names from the checkpoint for its hints
        try:
            super()._parse_ckpt_path()
        except ArgumentError as error:
            raise ConfigError(
                f"{config.ckpt_path} contains a model that cannot be built: {' '.join(causes(str(error)))}"
            ) from error
        self.parser.exit_on_error = True
        if asked is not None:
            merge_model_arguments(asked, self.config[command].model)

    def _in_order(self, modalities: Modalities) -> Modalities:
        """The data's modalities, in the order of the checkpoint, if any: the weights depend on it."""
        model = imported(self._get(self.config, "model").class_path)
        if isinstance(model, type):
            check_annotation(model, modalities)
        order = [name for name, _ in self._saved["modalities"]] if self._saved else []
        return {name: modalities[name] for name in order if name in modalities} | dict(modalities)

    def _target(self, data: FusionDataModule) -> TargetSpec | None:
        """The data's target, or that of the checkpoint if the data is unlabelled."""
        return data.target if data.target or not self._saved else TargetSpec(**self._saved["target"])
