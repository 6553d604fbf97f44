"""Logs fusion weights, contributions and attributions."""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from fusionlit.analysis.contribution import Contribution
from fusionlit.analysis.plots import plot_trajectories
from fusionlit.analysis.trajectories import KINDS, Kind, Trajectories, tag
from fusionlit.errors import ConfigError
from fusionlit.functional import CENTRAL
from fusionlit.models.base import FusionModule

Layers = Mapping[str, Mapping[str, Tensor]]


class FusionWeightLogger(Callback):
    """Log fusion weights before training, at every n-th optimizer step and at the end; contributions at validation.

    Every logger of the run receives the scalars `fusion_weights/<layer>/<source>` (weights per output are averaged;
    sample-dependent weights are the mean over the last training batch of the first process) and, over the validation
    set, `contributions/<layer>/<source>` and `attributions/<layer>/<source>` (formulas in `functional`). A `validate`
    or `test` run logs contributions and attributions over its own data as `validate/contributions/...` or
    `test/contributions/...`. TensorBoard also shows one chart per layer (under Custom Scalars) and the figure of the
    run so far (under Images), after epochs 1, 2, 4, 8, ... and at the end, since drawing takes longer than a short
    epoch. Checkpoints contain the trajectories, so that a resumed run draws the whole figure, and `fusionlit weights`
    needs no logger.

    Between two logs it only compares integers; each log copies one small vector to the host. For a module without
    fusion weights it logs a single message.

    Args:
        every_n_steps: Optimizer steps (not batches) between two logs of the weights; default: the trainer's
            `log_every_n_steps`.
        figure: Whether to draw the figure.

    Raises:
        ConfigError: If `every_n_steps` is not positive.
    """

    def __init__(self, every_n_steps: int | None = None, figure: bool = True) -> None:
        if every_n_steps is not None and every_n_steps < 1:
            raise ConfigError(f"Expected `every_n_steps` to be at least 1, but got {every_n_steps}.")
        self.every_n_steps = every_n_steps
        self.figure = figure
        self.trajectories = Trajectories()
        self._last_logged = 0
        self._last_drawn = 0
        self._contribution: Contribution | None = None

    def state_dict(self) -> dict[str, Any]:
        """The trajectories so far, as plain numbers; long ones are thinned."""
        return dataclasses.asdict(self.trajectories.thinned(1000))

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the current weights to the saved trajectories, so that these end with the model in the checkpoint."""
        weights = _numbers("fusion_weights", _fusion_weights(pl_module))
        if weights and _in_training(trainer) and self.state_key in checkpoint.get("callbacks", {}):
            saved = Trajectories(**checkpoint["callbacks"][self.state_key])
            saved.add(trainer.global_step, weights)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the trajectories of the resumed run."""
        self.trajectories = Trajectories(**state_dict)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the weights before training, and define the charts of TensorBoard."""
        weights = _fusion_weights(pl_module)
        if not weights:
            rank_zero_info(f"{type(pl_module).__name__} has no fusion weights; FusionWeightLogger has nothing to log.")
        for board in _boards(trainer) if weights else ():
            board.experiment.add_custom_scalars(_charts(pl_module, weights))
        self._log_past(trainer)
        self._log_weights(trainer, pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:  # noqa: ANN401
        """Log the weights if the optimizer has reached or passed an n-th step since the last log."""
        n = self.every_n_steps or trainer.log_every_n_steps  # type: ignore[attr-defined]  # set in its constructor
        if n and trainer.global_step // n > self._last_logged // n:
            self._log_weights(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the final weights and draw the figure."""
        if trainer.global_step > self._last_logged:
            self._log_weights(trainer, pl_module)
        self._draw(trainer)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start measuring, except in the sanity check."""
        if not trainer.sanity_checking:
            self._start_measuring(pl_module)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401
        *_: Any,  # noqa: ANN401
    ) -> None:
        """Add the energies of the batch."""
        if self._contribution is not None:
            self._contribution.update(outputs["energy"])

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log contributions and attributions over the validation set."""
        self._log_shares(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the figure after epochs 1, 2, 4, 8, ..., when validation is finished."""
        epochs = trainer.current_epoch + 1
        if epochs.bit_count() == 1:
            self._draw(trainer)

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start measuring."""
        self._start_measuring(pl_module)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401
        *_: Any,  # noqa: ANN401
    ) -> None:
        """Add the energies of the batch."""
        self.on_validation_batch_end(trainer, pl_module, outputs)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log contributions and attributions over the test set."""
        self._log_shares(trainer, pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Stop measuring."""
        self._stop_measuring(pl_module)

    def _draw(self, trainer: Trainer) -> None:
        if self.figure and self.trajectories.fusion_weights and trainer.global_step > self._last_drawn:
            self._last_drawn = trainer.global_step
            for board in _boards(trainer):
                board.experiment.add_figure("fusion_weights", plot_trajectories(self.trajectories), trainer.global_step)

    def _start_measuring(self, pl_module: LightningModule) -> None:
        weights = _fusion_weights(pl_module)
        if weights and isinstance(pl_module, FusionModule):
            self._contribution = Contribution(weights).to(pl_module.device)
            pl_module.measuring = True

    def _stop_measuring(self, pl_module: LightningModule) -> None:
        self._contribution = None
        if isinstance(pl_module, FusionModule):
            pl_module.measuring = False

    def _log_past(self, trainer: Trainer) -> None:
        """Log the past of a resumed run again, since its loggers may write to a new folder."""
        past: dict[int, dict[str, float]] = {}
        for kind in KINDS:
            for layer, sources in self.trajectories.lines(kind).items():
                for source, points in sources.items():
                    for step, value in points.items():
                        past.setdefault(step, {})[tag(kind, layer, source)] = value
        for step in sorted(past):
            for logger in trainer.loggers:
                logger.log_metrics(past[step], step=step)

    def _log_weights(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._last_logged = trainer.global_step
        if trainer.is_global_zero:
            self._log(trainer, "fusion_weights", _fusion_weights(pl_module))

    def _log_shares(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._contribution is not None:
            shares = self._contribution.compute()  # a reduction over all processes
            self._log(trainer, "contributions", shares.contributions)
            self._log(trainer, "attributions", shares.attributions)
        self._stop_measuring(pl_module)

    def _log(self, trainer: Trainer, kind: Kind, layers: Layers) -> None:
        values = _numbers(kind, layers)
        if not values:
            return
        if _in_training(trainer):
            self.trajectories.add(trainer.global_step, values)
        else:
            command = "test" if trainer.testing else "validate"
            values = {f"{command}/{name}": value for name, value in values.items()}
        for logger in trainer.loggers:
            logger.log_metrics(values, step=trainer.global_step)


def _fusion_weights(pl_module: LightningModule) -> Layers:
    with torch.no_grad():
        return pl_module.fusion_weights() if isinstance(pl_module, FusionModule) else {}


def _numbers(kind: Kind, layers: Layers) -> dict[str, float]:
    tensors = {tag(kind, layer, source): x for layer, sources in layers.items() for source, x in sources.items()}
    # A single transfer for all: each transfer synchronises with the device.
    numbers = torch.stack([x.detach().float().mean() for x in tensors.values()]).tolist() if tensors else []
    return dict(zip(tensors, numbers, strict=True))


def _in_training(trainer: Trainer) -> bool:
    return trainer.state.fn == TrainerFn.FITTING


def _boards(trainer: Trainer) -> list[TensorBoardLogger]:
    loggers = trainer.loggers if trainer.is_global_zero else []
    return [logger for logger in loggers if isinstance(logger, TensorBoardLogger)]


def _charts(pl_module: LightningModule, weights: Layers) -> dict[str, dict[str, list[Any]]]:
    """Custom-scalars layout: one section per kind, with one chart per layer and one line per source."""
    operators = pl_module.fusion_layers() if isinstance(pl_module, FusionModule) else {}
    sums = {layer: sources for layer, sources in weights.items() if operators[layer].has_energy}
    shown = {kind: weights if kind == "fusion_weights" else sums for kind in KINDS}
    return {
        kind: {layer: ["Multiline", _patterns(kind, layer, sources)] for layer, sources in layers.items()}
        for kind, layers in shown.items()
        if layers
    }


def _patterns(kind: Kind, layer: str, sources: Iterable[str]) -> list[str]:
    named = [source for source in sources if kind != "attributions" or source != CENTRAL]  # central has none
    return [re.escape(tag(kind, layer, source)) + "$" for source in named]
