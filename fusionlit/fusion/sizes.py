"""Size checks shared by operators."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from fusionlit.errors import ConfigError
from fusionlit.types import Shape


def check_positive(operator: str, **sizes: int) -> None:
    """Check that sizes, named like the operator's arguments, are positive.

    Raises:
        ConfigError: If one is not.
    """
    for name, size in sizes.items():
        if size < 1:
            raise ConfigError(f"Expected `{name}` of {operator} to be at least 1, but got {size}.")


def vector_sizes(operator: str, shapes: dict[str, Shape]) -> dict[str, int]:
    """Number of features of each source.

    Raises:
        ConfigError: If a source is not a vector.
    """
    if any(len(shape) != 1 for shape in shapes.values()):
        raise ConfigError(
            f"Expected the sources of {operator} to be vectors (d,), but got {shapes}. End each encoder with a dense"
            " stage, such as `dense: [64]` of ConvEncoder, or use Bilinear, which averages over positions."
        )
    return {source: shape[0] for source, shape in shapes.items()}


def check_weights(operator: str, sizes: Sequence[int], out_features: int, limit: int, instead: str) -> None:
    """Check that an outer product does not need too many weights.

    Raises:
        ConfigError: If `out_features` times the product of the sizes exceeds `limit` (argument `max_elements`).
    """
    products = math.prod(sizes)
    if products * out_features > limit:
        raise ConfigError(
            f"Expected {operator} to need at most `max_elements`={limit:,} weights, but"
            f" {' x '.join(map(str, sizes))} = {products:,} products per sample and `out_features`={out_features}"
            f" need {products * out_features:,}. Use {instead}, give the sources fewer features, or raise"
            " `max_elements`."
        )


def check_tokens(operator: str, shapes: dict[str, Shape], limit: int) -> None:
    """Check that there are not too many tokens for attention.

    Raises:
        ConfigError: If the sources have more positions than `limit` (argument `max_tokens`).
    """
    counts = {source: math.prod(shape[1:]) for source, shape in shapes.items()}
    if sum(counts.values()) > limit:
        raise ConfigError(
            f"Expected {operator} to have at most `max_tokens`={limit:,} tokens, but the positions of {shapes} are"
            f" {' + '.join(f'{count:,}' for count in counts.values())} = {sum(counts.values()):,}, and the memory of"
            " attention grows with the square. Fuse smaller maps (a later stage, more `widths` of ConvEncoder), or"
            " raise `max_tokens`."
        )


def initial_std(size: int) -> Tensor:
    """Initial standard deviation `(size + 1,)` of the weights of `[h; 1]`; the 1 accounts for half of the variance.

    With h `(size,)` of unit rms the weighted sum has variance 1; for a missing source, `[0; 1]`, 1 / 2.
    """
    return torch.cat([torch.full((size,), math.sqrt(0.5 / size)), torch.tensor([math.sqrt(0.5)])])
