"""Elementwise sum and product."""

from functools import reduce
from typing import ClassVar

import torch
from torch import Tensor

from fusionlit.functional import mean_square
from fusionlit.fusion.base import Features, FusionOperator, Presence
from fusionlit.types import Shape


class Add(FusionOperator):
    """Sum of the sources: `out = sum_k h_k`, `(B, *shape)`. A missing source is replaced by zeros.

    Raises:
        ShapeMismatchError: If the shapes differ.
    """

    gives_prediction: ClassVar[bool] = True

    def __init__(self, shapes: dict[str, Shape]) -> None:
        super().__init__(shapes)
        self._out_shape = self.common_shape()

    @property
    def out_shape(self) -> Shape:
        """Shape of each source."""
        return self._out_shape

    def forward(self, features: Features, presence: Presence | None = None) -> Tensor:
        """Add the sources."""
        return reduce(torch.add, self.fill_missing(features, presence, value=0.0))

    def energy(self, features: Features, presence: Presence | None = None) -> dict[str, Tensor]:
        """Mean square of each source; all weights are 1."""
        return {
            source: mean_square(x)
            for source, x in zip(self.shapes, self.fill_missing(features, presence, value=0.0), strict=True)
        }


class Hadamard(FusionOperator):
    """Elementwise product of the sources: `out = prod_k h_k`, `(B, *shape)`. A missing source is replaced by ones.

    Raises:
        ShapeMismatchError: If the shapes differ.
    """

    def __init__(self, shapes: dict[str, Shape]) -> None:
        super().__init__(shapes)
        self._out_shape = self.common_shape()

    @property
    def out_shape(self) -> Shape:
        """Shape of each source."""
        return self._out_shape

    def forward(self, features: Features, presence: Presence | None = None) -> Tensor:
        """Multiply the sources."""
        return reduce(torch.mul, self.fill_missing(features, presence, value=1.0))
