"""Matrix product of feature maps."""

import math
from functools import reduce

import torch
from torch import Tensor

from fusionlit.errors import ConfigError
from fusionlit.fusion.base import Features, FusionOperator, Presence
from fusionlit.types import Shape


class MatMul(FusionOperator):
    """Matrix product of square feature maps, channel by channel: `out[c] = h_1[c] h_2[c] ... h_K[c]`, `(B, C, N, N)`.

    This is the line that is commented out in the course's notebooks. It is not bilinear pooling, and the order of the
    sources matters. The product is divided by `N^((K - 1) / 2)`, which keeps the variance of independent unit-variance
    entries. A missing source is replaced by the identity.

    Raises:
        ShapeMismatchError: If the shapes differ.
        ConfigError: If the sources are not square maps.
    """

    def __init__(self, shapes: dict[str, Shape]) -> None:
        super().__init__(shapes)
        shape = self.common_shape()
        if len(shape) != 3 or shape[1] != shape[2]:
            raise ConfigError(f"Expected the sources of MatMul to be square maps (C, N, N), but got {self.shapes}.")
        self._out_shape = shape
        self._scale = math.pow(shape[1], -(len(shapes) - 1) / 2)

    @property
    def out_shape(self) -> Shape:
        """Shape of each source."""
        return self._out_shape

    def forward(self, features: Features, presence: Presence | None = None) -> Tensor:
        """Multiply the maps, in the order of the sources."""
        first = next(iter(features.values()))
        identity = torch.eye(self._out_shape[-1], dtype=first.dtype, device=first.device)
        return reduce(torch.matmul, self.fill_missing(features, presence, value=identity)) * self._scale
