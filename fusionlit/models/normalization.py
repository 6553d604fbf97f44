"""Input normalisation inside the model, so that a model loaded alone takes raw inputs."""

from typing import Any, cast

import torch
from lightning import Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn

from fusionlit.types import ChannelStatistics, Shape

CONSTANT = 1e-6
"""Deviation up to which a channel is taken for constant, relative to its mean: float32's own resolution."""


class InputNormalization(nn.Module):
    """Standardise each channel of one modality: `(x - mean) / std`, `(B, C, ...)`.

    Mean and deviation are buffers, set once from the training split; before that, and for a channel that never
    changes (but for rounding), the deviation is one.
    """

    mean: Tensor
    std: Tensor
    fitted: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape[0]))
        self.register_buffer("std", torch.ones(shape[0]))
        self.register_buffer("fitted", torch.tensor(False))

    def fit(self, statistics: ChannelStatistics) -> None:
        """Take the statistics of the training split."""
        self.mean.copy_(statistics.mean)
        changes = statistics.std > CONSTANT * statistics.mean.abs()
        self.std.copy_(torch.where(changes, statistics.std, torch.ones_like(statistics.std)))
        self.fitted.fill_(True)

    def forward(self, x: Tensor) -> Tensor:
        """Standardise `x`."""
        channels = (-1, *(1,) * (x.ndim - 2))
        return (x - self.mean.view(channels)) / self.std.view(channels)


def pending(norms: nn.ModuleDict) -> dict[str, InputNormalization]:
    """Those of each modality that have no statistics yet."""
    every = cast(dict[str, InputNormalization], dict(norms.items()))
    return {name: norm for name, norm in every.items() if not norm.fitted}


def take_statistics(norms: nn.ModuleDict, trainer: Trainer) -> None:
    """Fit those that have no statistics yet to the training split of the trainer's data module."""
    waiting = pending(norms)
    data: Any = getattr(trainer, "datamodule", None)
    if waiting and hasattr(data, "input_statistics"):
        statistics = data.input_statistics()
        for name, norm in waiting.items():
            norm.fit(statistics[name])
    elif waiting:
        rank_zero_warn(
            "`normalize` is on, but the trainer has no FusionDataModule to take the input statistics from: inputs"
            " stay as they are."
        )
        for norm in waiting.values():
            norm.fitted.fill_(True)
