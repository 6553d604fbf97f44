"""Sum and product, element by element."""

from functools import reduce
from typing import ClassVar

import torch
from torch import Tensor

from fusionlit.functional import mean_square
from fusionlit.fusion.base import Features, FusionOperator, Presence
from fusionlit.types import Shape


class Add(FusionOperator):
    """Sum of the sources: `out = sum_k h_k`, `(B, *shape)`. An absent source counts as zeros.

    Raises:
        ShapeMismatchError: If the shapes differ.
    """

    gives_prediction: ClassVar[bool] = True

    def __init__(self, shapes: dict[str, Shape]) -> None:
        super().__init__(shapes)
        self._out_shape = self.common_shape()

    @property
    def out_shape(self) -> Shape:
        """The sources' shape."""
        return self._out_shape

    def forward(self, features: Features, presence: Presence | None = None) -> Tensor:
        """Add the sources."""
        return reduce(torch.add, self.present(features, presence, absent=0.0))

    def energy(self, features: Features, presence: Presence | None = None) -> dict[str, Tensor]:
        """Mean square of each source; every weight is one."""
        return {
            source: mean_square(x)
            for source, x in zip(self.shapes, self.present(features, presence, absent=0.0), strict=True)
        }


class Hadamard(FusionOperator):
    """Product of the sources, element by element: `out = prod_k h_k`, `(B, *shape)`. An absent source counts as ones.

    Raises:
        ShapeMismatchError: If the shapes differ.
    """

    def __init__(self, shapes: dict[str, Shape]) -> None:
        super().__init__(shapes)
        self._out_shape = self.common_shape()

    @property
    def out_shape(self) -> Shape:
        """The sources' shape."""
        return self._out_shape

    def forward(self, features: Features, presence: Presence | None = None) -> Tensor:
        """Multiply the sources."""
        return reduce(torch.mul, self.present(features, presence, absent=1.0))
