"""Prediction head."""

import math
from collections.abc import Sequence

from torch import Tensor, nn

from fusionlit.encoders.base import Head
from fusionlit.encoders.layers import GlobalPool, Pool
from fusionlit.encoders.mlp import check_widths, dense_stages
from fusionlit.types import Shape


class MLPHead(Head):
    """Multilayer perceptron on the flattened features: hidden layers (Linear, ReLU, Dropout), then Linear.

    With `pool`, features `(C, T)` or `(C, H, W)` are first pooled to C, so that the head's size does not depend on T, H
    or W (global average pooling, Lin et al. 2014, arXiv 1312.4400).

    Args:
        in_shape: Shape of the features, of any rank.
        out_size: Number of outputs.
        hidden: Width of each hidden layer; empty: a linear head.
        dropout: Probability of zeroing a feature after each hidden layer.
        pool: Pooling over all positions before the first layer: `mean` or `max`; `none` flattens the features.

    Raises:
        ConfigError: If a width is not positive, or `pool` is invalid.
    """

    def __init__(
        self, in_shape: Shape, out_size: int, hidden: Sequence[int] = (), dropout: float = 0.0, pool: Pool = "none"
    ) -> None:
        super().__init__()
        check_widths("hidden", hidden)
        check_widths("out_size", [out_size])
        self.pool = GlobalPool(pool)
        in_shape = in_shape if pool == "none" else in_shape[:1]
        features = hidden[-1] if hidden else math.prod(in_shape)
        self.layers = nn.Sequential(
            *dense_stages(in_shape, hidden, dropout), nn.Flatten(), nn.Linear(features, out_size)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Prediction `(B, out_size)`."""
        prediction: Tensor = self.layers(self.pool(features))
        return prediction
