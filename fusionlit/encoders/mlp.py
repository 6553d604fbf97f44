"""Dense stages, and the encoder that consists of them."""

import math
from collections.abc import Sequence

from torch import nn

from fusionlit.encoders.base import StagedEncoder
from fusionlit.errors import ConfigError
from fusionlit.types import Shape


class MLPEncoder(StagedEncoder):
    """Multilayer perceptron on the flattened input; each width is a stage: Linear, ReLU, Dropout.

    Args:
        in_shape: Shape of the input, of any rank.
        widths: Output features of each stage.
        dropout: Probability of zeroing a feature after each stage.

    Raises:
        ConfigError: If `widths` is empty or has a width that is not positive.
    """

    def __init__(self, in_shape: Shape, widths: Sequence[int] = (128, 128), dropout: float = 0.0) -> None:
        super().__init__()
        check_widths("widths", widths)
        if not widths:
            raise ConfigError("Expected `widths` of MLPEncoder to hold at least one width, but it is empty.")
        self.stages = dense_stages(in_shape, widths, dropout)
        self._stage_shapes = tuple((width,) for width in widths)

    @property
    def stage_shapes(self) -> tuple[Shape, ...]:
        """`(width,)` after each stage."""
        return self._stage_shapes


def dense_stages(in_shape: Shape, widths: Sequence[int], dropout: float) -> nn.ModuleList:
    """One stage per width: Flatten (if needed), Linear, ReLU, Dropout."""
    sizes = [math.prod(in_shape), *widths]
    return nn.ModuleList(
        nn.Sequential(nn.Flatten(), nn.Linear(size, width), nn.ReLU(), nn.Dropout(dropout))
        for size, width in zip(sizes, widths, strict=False)
    )


def check_widths(argument: str, widths: Sequence[int]) -> None:
    """Check that all widths are positive.

    Raises:
        ConfigError: If a width is not positive.
    """
    if any(width < 1 for width in widths):
        raise ConfigError(f"Expected every width in `{argument}` to be at least 1, but got {list(widths)}.")
