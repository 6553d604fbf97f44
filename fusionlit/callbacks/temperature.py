"""Temperature scaling of a trained classifier, on request."""

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

    T minimises the cross-entropy on the validation split, which is read once per checkpoint of the run, since each has
    its own weights and so its own temperature. T is saved in the checkpoint and applied wherever probabilities are
    computed: metrics, `predict`, `load_from_checkpoint`. The most probable class and the loss do not change. The model
    in memory gets a temperature too. The test split is never read. With few validation samples the temperature is
    imprecise: compare `test/calibration_error` with and without it.

    If there is no optimal temperature, none is fitted, with a warning: for a model that is correct on every validation
    sample, the cross-entropy decreases for any T towards 0. Must be added explicitly:
    `--trainer.callbacks+=TemperatureScaling`.

    Source: Guo et al., "On calibration of modern neural networks", 2017 (arXiv 1706.04599).
    """

    needs_validation = True

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check before training that calibration will be possible.

        Raises:
            ConfigError: If the task is not classification, there is no `FusionDataModule`, or the trainer's strategy
                shards the model.
        """
        if stage != "fit":
            return
        module, _ = _checked(trainer, pl_module)
        if module.task.temperature is None:
            raise ConfigError(
                f"Expected a task with probabilities for TemperatureScaling, but {type(module.task).__name__} has none."
                " Leave out the callback for regression."
            )

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Calibrate every checkpoint of the run, and the model in memory."""
        module, data = _checked(trainer, pl_module)
        value = 1.0
        with _validating(trainer):
            if trainer.is_global_zero:  # a single process reads the whole split
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
        files.save_checkpoint(checkpoint, path)  # atomic


def _temperature(trainer: Trainer, model: FusionModule, data: FusionDataModule, name: str) -> float:
    logits, labels = _validation_logits(trainer, model, data)
    value = fit_temperature(logits, labels)
    if value is None:
        rank_zero_warn(
            f"TemperatureScaling: there is no optimal temperature for {name}: it is correct on all of the {len(labels)}"
            " validation samples, or no better than chance. The temperature stays 1. Use more validation data."
        )
        return 1.0
    before, after = cross_entropy(logits, labels).item(), cross_entropy(logits / value, labels).item()
    rank_zero_info(
        f"TemperatureScaling: {name}: temperature {value:.4g}, cross-entropy on validation {before:.4g} -> {after:.4g}."
    )
    return value


@torch.no_grad()
def _validation_logits(trainer: Trainer, model: FusionModule, data: FusionDataModule) -> tuple[Tensor, Tensor]:
    """Logits `(N, K)` in float64 and labels `(N,)` of the validation split, on the CPU."""
    parts = []
    with evaluating(model), trainer.precision_plugin.forward_context():
        for batch in split_batches(model, data, "val"):
            prediction = model(batch["inputs"], batch.get("presence")).prediction
            parts.append([x.cpu() for x in model.task.class_logits(prediction, batch["target"])])
    logits, labels = (torch.cat(x) for x in zip(*parts, strict=True))
    return logits.double(), labels.long()


def _checkpoints(trainer: Trainer) -> list[Path]:
    """Files kept by the run's checkpoint callbacks."""
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
            f" {type(trainer.strategy).__name__}. Use `ddp`, or calibrate in one process."
        )
    return pl_module, data


@contextmanager
def _validating(trainer: Trainer) -> Iterator[None]:
    """Put the trainer in validation, so that the data module does not augment the batches."""
    trainer.validating = True
    try:
        yield
    finally:
        trainer.training = True
