"""Input normalisation inside the model, so that a model loaded alone takes raw inputs."""

import torch
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
