"""Input normalisation as part of the model, so that a loaded model takes raw inputs."""

from typing import Any, cast

import torch
from lightning import Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn

from fusionlit.errors import ConfigError
from fusionlit.types import ChannelStatistics, Shape

CONSTANT = 1e-6
"""Standard deviation, relative to the mean, up to which a channel counts as constant (resolution of float32)."""


class InputNormalization(nn.Module):
    """Standardise each channel of a modality: `(x - mean) / std`, `(B, C, ...)`.

    Mean and standard deviation are buffers, set once from the training split. Before that, and for channels that are
    constant up to rounding, the standard deviation is 1.
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
        """Set the statistics of the training split."""
        self.mean.copy_(statistics.mean)
        changes = statistics.std > CONSTANT * statistics.mean.abs()
        self.std.copy_(torch.where(changes, statistics.std, torch.ones_like(statistics.std)))
        self.fitted.fill_(True)

    def forward(self, x: Tensor) -> Tensor:
        """Standardise `x`."""
        channels = (-1, *(1,) * (x.ndim - 2))
        return (x - self.mean.view(channels)) / self.std.view(channels)


def pending(norms: nn.ModuleDict) -> dict[str, InputNormalization]:
    """Normalisations without statistics, by modality."""
    every = cast(dict[str, InputNormalization], dict(norms.items()))
    return {name: norm for name, norm in every.items() if not norm.fitted}


def take_statistics(norms: nn.ModuleDict, trainer: Trainer) -> None:
    """Fit the normalisations without statistics to the training split of the trainer's data module."""
    waiting = pending(norms)
    data: Any = getattr(trainer, "datamodule", None)
    if waiting and hasattr(data, "input_statistics"):
        statistics = data.input_statistics()
        if without := sorted(set(waiting) - set(statistics)):
            raise ConfigError(
                f"Expected statistics of {without}, which the model normalises, but the data module says `normalize:"
                " false` of them. Build the model with the `modalities` of the data module."
            )
        for name, norm in waiting.items():
            norm.fit(statistics[name])
    elif waiting:
        rank_zero_warn(
            "`normalize` is on, but the trainer has no FusionDataModule to take the input statistics from: inputs"
            " are not normalised."
        )
        for norm in waiting.values():
            norm.fitted.fill_(True)
