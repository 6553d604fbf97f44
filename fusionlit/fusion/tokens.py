"""Tokens of a source, for attention."""

import math

import torch
from torch import Tensor, nn

from fusionlit.types import Shape


class Tokens(nn.Module):
    """Embed a source as tokens: `t_n = W h_n + b + p_n`, `(B, C, *grid)` to `(B, N, width)`.

    Each of the N positions of a map or a sequence becomes a token, in row-major order; a vector is one token. `p_n` is
    a learned position embedding, initialised N(0, 0.02^2).

    Args:
        shape: Shape of the source.
        width: Features of each token.
    """

    def __init__(self, shape: Shape, width: int) -> None:
        super().__init__()
        self.count = math.prod(shape[1:])
        self.linear = nn.Linear(shape[0], width)
        nn.init.kaiming_normal_(self.linear.weight, nonlinearity="linear")
        nn.init.zeros_(self.linear.bias)
        self.positions = nn.Parameter(0.02 * torch.randn(self.count, width)) if len(shape) > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        """Tokens of `x`."""
        tokens: Tensor = self.linear(x.reshape(*x.shape[:2], self.count).mT)
        return tokens if self.positions is None else tokens + self.positions


def mean_of_present(parts: list[Tensor], there: Tensor) -> Tensor:
    """Mean over the present sources: K `(B, ...)` and presence `(B, K)` to `(B, ...)`; zeros if none is present."""
    stacked = torch.stack(parts, dim=1)
    present = there.to(stacked.dtype)
    share = present / present.sum(1, keepdim=True).clamp(min=1)
    return (stacked * share.reshape(*share.shape, *(1,) * (stacked.ndim - 2))).sum(1)
