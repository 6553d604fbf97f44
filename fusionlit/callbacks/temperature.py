"""Calibrates, on request, the probabilities of a trained classifier."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor
from torch.nn.functional import cross_entropy

from fusionlit.analysis.batches import evaluating, split_batches
from fusionlit.data import FusionDataModule
from fusionlit.errors import ConfigError
from fusionlit.functional import fit_temperature
from fusionlit.models.base import FusionModule

KEY = "task.temperature.value"


class TemperatureScaling(Callback):
    """After training, fit one temperature T on the validation split, so that `softmax(z / T)` is calibrated.

    T minimises the cross-entropy of the validation split, which is read once for each checkpoint that the run keeps:
    each has weights of its own, and so a temperature of its own. T is saved in the checkpoint, and everything that
    gives probabilities divides by it: metrics, `predict`, `load_from_checkpoint`. Which class is the most probable does
    not change, nor does the loss. The model in memory gets its temperature too. The test split is never read.
    Few validation samples give a rough temperature: compare `test/calibration_error` with and without.

    No temperature is fitted, and one line says so, where none is best: a model that is right on every validation sample
    would be made ever surer. Added on request: `--trainer.callbacks+=TemperatureScaling`.

    Source: Guo et al., "On calibration of modern neural networks", 2017 (arXiv 1706.04599).
    """

    needs_validation = True

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse before training what could not be calibrated after it.

        Raises:
            ConfigError: If the task is no classification, there is no `FusionDataModule`, or the strategy shards the
                model.
        """
        if stage != "fit":
            return
        module, _ = _checked(trainer, pl_module)
        if module.task.temperature is None:
            raise ConfigError(
                f"Expected a task with probabilities for TemperatureScaling, but {type(module.task).__name__} has none."
                " Leave the callback out of a regression."
            )

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Calibrate every checkpoint of the run, and the model in memory."""
        module, data = _checked(trainer, pl_module)
        value = 1.0
        with _validating(trainer):
            if trainer.is_global_zero:  # one process reads the whole split
                for path in _checkpoints(trainer):
                    self._calibrate_file(trainer, module, data, path)
                value = _temperature(trainer, module, data, "the model in memory")
            value = trainer.strategy.broadcast(value)
        if module.task.temperature is not None:
            module.task.temperature.value.fill_(value)

    def _calibrate_file(self, trainer: Trainer, module: FusionModule, data: FusionDataModule, path: Path) -> None:
        model = type(module).load_from_checkpoint(path, map_location=module.device)
        trainer.precision_plugin.convert_module(model)
        value = _temperature(trainer, model, data, path.name)
        files = trainer.strategy.checkpoint_io
        checkpoint = files.load_checkpoint(path)
        checkpoint["state_dict"][KEY].fill_(value)
        files.save_checkpoint(checkpoint, path)  # whole or not at all


def _temperature(trainer: Trainer, model: FusionModule, data: FusionDataModule, name: str) -> float:
    logits, labels = _validation_logits(trainer, model, data)
    value = fit_temperature(logits, labels)
    if value is None:
        rank_zero_warn(
            f"TemperatureScaling: no temperature is best for {name}. Either it is right on all of the {len(labels)}"
            " validation samples, or no better than chance; the temperature stays 1. Give it more validation data."
        )
        return 1.0
    before, after = cross_entropy(logits, labels).item(), cross_entropy(logits / value, labels).item()
    rank_zero_info(
        f"TemperatureScaling: {name}: temperature {value:.4g}, cross-entropy on validation {before:.4g} -> {after:.4g}."
    )
    return value


@torch.no_grad()
def _validation_logits(trainer: Trainer, model: FusionModule, data: FusionDataModule) -> tuple[Tensor, Tensor]:
    """Logits `(N, K)` in float64 and labels `(N,)` of the validation split, on the host."""
    parts = []
    with evaluating(model), trainer.precision_plugin.forward_context():
        for batch in split_batches(model, data, "val"):
            prediction = model(batch["inputs"], batch.get("presence")).prediction
            parts.append([x.cpu() for x in model.task.class_logits(prediction, batch["target"])])
    logits, labels = (torch.cat(x) for x in zip(*parts, strict=True))
    return logits.double(), labels.long()


def _checkpoints(trainer: Trainer) -> list[Path]:
    """The files that the run's checkpoint callbacks keep."""
    kept = [callback for callback in trainer.checkpoint_callbacks if isinstance(callback, ModelCheckpoint)]
    names = [name for c in kept for name in (c.best_model_path, c.last_model_path, *c.best_k_models)]
    return [Path(name) for name in dict.fromkeys(names) if name and Path(name).is_file()]


def _checked(trainer: Trainer, pl_module: LightningModule) -> tuple[FusionModule, FusionDataModule]:
    data = getattr(trainer, "datamodule", None)
    if not isinstance(pl_module, FusionModule) or not isinstance(data, FusionDataModule):
        raise ConfigError("Expected a FusionModule and a FusionDataModule for TemperatureScaling: use `fusionlit fit`.")
    if not isinstance(trainer.strategy, SingleDeviceStrategy | DDPStrategy):
        raise ConfigError(
            "Expected a strategy with the whole model in every process for TemperatureScaling, but got"
            f" {type(trainer.strategy).__name__}. Take `ddp`, or calibrate in one process."
        )
    return pl_module, data


@contextmanager
def _validating(trainer: Trainer) -> Iterator[None]:
    """Let the data module see a validation: it would vary the batches of a training."""
    trainer.validating = True
    try:
        yield
    finally:
        trainer.training = True
