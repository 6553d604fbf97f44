"""The head that turns features into a prediction."""

import math
from collections.abc import Sequence

from torch import Tensor, nn

from fusionlit.encoders.base import Head
from fusionlit.encoders.mlp import check_widths, dense_stages
from fusionlit.types import Shape


class MLPHead(Head):
    """Multilayer perceptron on the flattened features: hidden layers (Linear, ReLU, Dropout), then Linear.

    Args:
        in_shape: Shape of the features, of any rank.
        out_size: Number of outputs.
        hidden: Width of each hidden layer; empty is a linear head.
        dropout: Probability of zeroing a feature behind each hidden layer.

    Raises:
        ConfigError: If a width is not positive.
    """

    def __init__(self, in_shape: Shape, out_size: int, hidden: Sequence[int] = (), dropout: float = 0.0) -> None:
        super().__init__()
        check_widths("hidden", hidden)
        check_widths("out_size", [out_size])
        features = hidden[-1] if hidden else math.prod(in_shape)
        self.layers = nn.Sequential(
            *dense_stages(in_shape, hidden, dropout), nn.Flatten(), nn.Linear(features, out_size)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Prediction `(B, out_size)`."""
        prediction: Tensor = self.layers(features)
        return prediction
