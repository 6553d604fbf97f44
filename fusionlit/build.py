"""From YAML and flags to a trainer, a strategy and a data module: LightningCLI with fusionlit's links and callbacks."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback

import fusionlit.data
import fusionlit.models  # noqa: F401 (importing makes the short class names known)
from fusionlit.callbacks import EfficiencyMonitor, FitCheckpoint, FusionWeightLogger
from fusionlit.data import FusionDataModule
from fusionlit.models import FusionModule


class SaveFitConfig(SaveConfigCallback):
    """Save the whole configuration beside a training run; a test of that run leaves it as it is."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Save only when training starts."""
        if stage == "fit":
            super().setup(trainer, pl_module, stage)


class FusionCLI(LightningCLI):
    """`fit`, `validate`, `test` and `predict` of any strategy on any data.

    The data module's `modalities` and `target` are linked into the model, so that nobody types a size twice. Every run
    has a `FusionWeightLogger` (`--fusion_weights.*`), an `EfficiencyMonitor` (`--efficiency.*`) and a `FitCheckpoint`
    (`--checkpoint.*`) that keeps `best.ckpt`, by the validation loss, and `last.ckpt`.
    """

    def __init__(self, **kwargs: Any) -> None:  # noqa: ANN401 (LightningCLI's own arguments)
        super().__init__(
            FusionModule,
            FusionDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=SaveFitConfig,
            seed_everything_default=0,
            auto_configure_optimizers=False,
            **kwargs,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Links and callbacks."""
        parser.link_arguments("data.modalities", "model.init_args.modalities", apply_on="instantiate")
        parser.link_arguments("data.target", "model.init_args.target", apply_on="instantiate")
        parser.add_lightning_class_args(FitCheckpoint, "checkpoint")
        parser.set_defaults(
            {
                "checkpoint.filename": "best",
                "checkpoint.monitor": "val/loss",
                "checkpoint.mode": "min",
                "checkpoint.save_last": True,
                "checkpoint.auto_insert_metric_name": False,
                "checkpoint.enable_version_counter": False,
            }
        )
        parser.add_lightning_class_args(FusionWeightLogger, "fusion_weights")
        parser.add_lightning_class_args(EfficiencyMonitor, "efficiency")


@contextmanager
def command_line(args: Sequence[str]) -> Iterator[None]:
    """Let `args` stand in `sys.argv`, from where LightningCLI reads and DDP starts its other processes."""
    before, sys.argv = sys.argv, [sys.argv[0], *args]
    try:
        yield
    finally:
        sys.argv = before
