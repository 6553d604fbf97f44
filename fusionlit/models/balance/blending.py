"""Gradient blending."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from fusionlit.errors import ConfigError
from fusionlit.functional import blending_weights
from fusionlit.models.balance.base import Balance
from fusionlit.models.balance.means import EpochMeans
from fusionlit.tasks import BatchMean, EpochMean
from fusionlit.types import Batch, FusionOutput, Modalities

if TYPE_CHECKING:
    from fusionlit.models.base import FusionModule


class GBlending(Balance):
    """G-Blending: weight each loss by its ratio of generalisation to overfitting.

    Every `every_n_epochs` epochs, for the multimodal and every unimodal loss i: `w_i` is proportional to `G_i / O_i^2`,
    with G_i the decrease of its validation loss since the last measurement and O_i the increase of the gap between its
    validation and training loss. The loss is `w_0 loss + sum_k w_k b_k loss_k`. All w_i are 1 until the second
    measurement. Logged: `balance/loss` and `balance/unimodal_loss/<modality>`, the w_i.

    Differences from the paper: G and O are measured on the model being trained, whereas the paper trains a copy of
    every part for that. A training loss is the mean over the epoch, with dropout. The w_i have mean 1 instead of sum 1,
    so that the learning rate keeps its meaning, and each is at least `minimum`, since a loss with weight zero could not
    generalise again.

    Source: Wang et al., "What makes training multi-modal classification networks hard?", 2020 (arXiv 1905.12681).

    Args:
        modalities: Modalities; passed by the model.
        every_n_epochs: Epochs between two measurements.
        minimum: Minimum weight.

    Raises:
        ConfigError: If an argument is out of range.
    """

    needs_validation = True

    def __init__(self, modalities: Modalities, every_n_epochs: int = 5, minimum: float = 0.1) -> None:
        super().__init__(modalities)
        if every_n_epochs < 1:
            raise ConfigError(f"Expected `every_n_epochs` of GBlending to be at least 1, but got {every_n_epochs}.")
        if not 0 <= minimum < 1:
            raise ConfigError(f"Expected `minimum` of GBlending to be in [0, 1), but got {minimum}.")
        self.every_n_epochs = every_n_epochs
        self.minimum = minimum
        self.parts = ["loss", *(f"unimodal_loss/{name}" for name in self.names)]
        self.means = EpochMeans(self.parts)
        self.weights = dict.fromkeys(self.parts, 1.0)
        self.measured: dict[str, Any] | None = None
        self._validation: dict[str, float] = {}

    def begin(self, model: FusionModule) -> None:
        """Check that the trainer validates."""
        if not model.trainer.limit_val_batches:
            raise ConfigError(
                "GBlending needs the validation split, but the trainer does not validate: leave out"
                " `limit_val_batches: 0` and `RefitSplit`."
            )

    def loss(
        self, model: FusionModule, total: Tensor, parts: dict[str, BatchMean], output: FusionOutput, batch: Batch
    ) -> Tensor:
        """The loss with its parts reweighted."""
        self.check_output(output)
        values = torch.stack([parts[part].value.detach() for part in self.parts])
        self.means.add(values, torch.stack([parts[part].weight.to(values.dtype) for part in self.parts]))
        given = {"loss": 1.0, **{f"unimodal_loss/{name}": model.unimodal_weights[name] for name in self.names}}
        for part, weight in self.weights.items():
            if weight != 1.0:
                total = total + (weight - 1.0) * given[part] * parts[part].value
        return total

    def after_validation(self, model: FusionModule) -> None:
        """Read the validation losses; parts without samples (NaN) are left out."""
        means = {part: cast(EpochMean, model.meters.losses[part]) for part in self.parts}
        losses = {part: float(mean.compute()) for part, mean in means.items()}
        self._validation = {part: loss for part, loss in losses.items() if loss == loss}

    def update(self, model: FusionModule) -> None:
        """Measure, if `every_n_epochs` have passed and there was a validation."""
        train, val, epoch = self.means.take(), self._validation, model.current_epoch
        self._validation = {}
        self.numbers = dict(self.weights)
        for split, means in (("training", train), ("validation", val)):
            self._warn_of_absent(split, means)
        waited = epoch - (self.measured["epoch"] if self.measured else -1)
        if waited < self.every_n_epochs or len(val) < len(self.parts) or len(train) < len(self.parts):
            return
        before, self.measured = self.measured, {"epoch": epoch, "train": train, "val": val}
        if before is None:
            return
        losses = [[of[part] for part in self.parts] for of in (before["train"], before["val"], train, val)]
        shares = blending_weights(*torch.tensor(losses, dtype=torch.float64)) * len(self.parts)
        weights = self.minimum + (1 - self.minimum) * shares
        self.weights = dict(zip(self.parts, weights.tolist(), strict=True))
        self.numbers = dict(self.weights)

    def _warn_of_absent(self, split: str, means: dict[str, float]) -> None:
        absent = [name for name in self.names if f"unimodal_loss/{name}" not in means]
        if means and absent:
            rank_zero_warn(
                f"GBlending has no {split} loss of {absent}: no {split} sample has them, or their loss is NaN. The"
                " loss weights do not change. Choose a split in which every part has samples of every modality,"
                " or leave out `training.balance`."
            )

    def state(self) -> dict[str, Any]:
        """The weights, and the last measurement."""
        return {"weights": dict(self.weights), "measured": self.measured}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore the weights and the last measurement."""
        self.weights = dict(state["weights"])
        self.measured = state["measured"]
        self.numbers = dict(self.weights)
