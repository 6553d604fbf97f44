"""Concatenation."""

import torch
from torch import Tensor

from fusionlit.fusion.base import Features, FusionOperator, Presence, ShapeMismatchError
from fusionlit.types import Shape


class Concat(FusionOperator):
    """Concatenate the sources along their first dimension: channels of maps and sequences, features of vectors.

    `out = [h_1; ...; h_K]`: `(B, C_k, *grid)` to `(B, sum_k C_k, *grid)`. A missing source is replaced by zeros.

    Raises:
        ShapeMismatchError: If the grids differ.
    """

    def __init__(self, shapes: dict[str, Shape]) -> None:
        super().__init__(shapes)
        grids = {shape[1:] for shape in shapes.values()}
        if len(grids) > 1:
            raise ShapeMismatchError("Concat", "the same dimensions after the first", shapes)
        self._out_shape = (sum(shape[0] for shape in shapes.values()), *grids.pop())

    @property
    def out_shape(self) -> Shape:
        """Total channels or features of the sources, on their grid."""
        return self._out_shape

    def forward(self, features: Features, presence: Presence | None = None) -> Tensor:
        """Concatenate in the order of `shapes`."""
        return torch.cat(self.fill_missing(features, presence, value=0.0), dim=1)
