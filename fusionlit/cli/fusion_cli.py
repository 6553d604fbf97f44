"""From YAML and flags to a trainer, a strategy and a data module: LightningCLI with fusionlit's links and callbacks."""

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
from fusionlit.cli.checkpoint import check_heads, keep_what_was_asked, read_checkpoint, untrained
from fusionlit.cli.parser import FusionParser, causes
from fusionlit.cli.trainer import with_our_callbacks
from fusionlit.data import FusionDataModule
from fusionlit.errors import ConfigError
from fusionlit.models import FusionModule
from fusionlit.models.schema import check_annotation
from fusionlit.models.trust import check_configuration, imported
from fusionlit.types import Modalities, TargetSpec

IMPORTS = "Modules with classes of your own that a checkpoint names and nothing else on the command line does."
MEASURING = ("validate", "test", "predict")
"""Commands that need a network which is trained."""


class SaveFitConfig(SaveConfigCallback):
    """Save the whole configuration beside a training run; a test of that run leaves it as it is."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Save only when training starts, and only where the run writes something else too.

        Raises:
            ConfigError: If another run's configuration lies there, and this run does not go on from its checkpoint.
        """
        if stage != "fit" or not (trainer.loggers or trainer.checkpoint_callbacks):
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

    _saved: Mapping[str, Any] | None = None
    """What the checkpoint holds, if one was given."""

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
        model = imported(self._get(self.config, "model").class_path)
        if isinstance(model, type):
            check_annotation(model)

    def after_instantiate_classes(self) -> None:
        """Refuse to measure a network that has never been trained, or to go on with other heads than a checkpoint has.

        Raises:
            ConfigError: If there is something to train in it, and no checkpoint (the message names those that lie
                near), or the checkpoint has other heads.
        """
        if self._saved is not None:
            check_heads(self.model, self._saved, self.config[self.subcommand].ckpt_path)
            self._saved = None  # its weights are loaded by the trainer
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
        validates = self.datamodule.validates
        config, callbacks = with_our_callbacks(config, callbacks, self.subcommand, validates)
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
        self._saved = read_checkpoint(Path(config.ckpt_path))
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

    def _in_order(self, modalities: Modalities) -> Modalities:
        """The data's modalities, in the checkpoint's order if there is one: weights depend on it."""
        order = [name for name, _ in self._saved["modalities"]] if self._saved else []
        return {name: modalities[name] for name in order if name in modalities} | dict(modalities)

    def _target(self, data: FusionDataModule) -> TargetSpec | None:
        """The data's target; that of the checkpoint where the data is not labelled."""
        return data.target if data.target or not self._saved else TargetSpec(**self._saved["target"])
