"""Layers shared by encoders and heads."""

from collections.abc import Sequence
from typing import Literal, TypeVar, get_args

from torch import Tensor, nn

from fusionlit.errors import ConfigError
from fusionlit.types import Shape

Norm = Literal["none", "batch", "group"]
Pool = Literal["none", "mean", "max"]
T = TypeVar("T")


class ConvStage(nn.Sequential):
    """Sequence of layers for images; a signal is treated as an image of height 1.

    Torch supports channels-last memory, in which convolutions and pooling are faster on a CPU, for images only
    (`benchmarks/training.py`).
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map `(B, C, T)` or `(B, C, H, W)` to the same rank."""
        y: Tensor = super().forward(x if x.ndim == 4 else x.unsqueeze(2))  # type: ignore[no-untyped-call]  # torch's
        return y if x.ndim == 4 else y.squeeze(2)


class Residual(nn.Module):
    """Residual connection: `y = relu(path(x) + shortcut(x))`.

    Source: He et al., "Deep residual learning for image recognition", 2016 (arXiv 1512.03385).

    Args:
        path: Layers whose output has the shape of the shortcut's.
        shortcut: Default: the identity.
    """

    def __init__(self, path: nn.Module, shortcut: nn.Module | None = None) -> None:
        super().__init__()
        self.path = path
        self.shortcut = shortcut or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """ReLU of the sum of path and shortcut."""
        y: Tensor = self.path(x) + self.shortcut(x)
        return y.relu()


class GlobalPool(nn.Module):
    """Mean or maximum over all positions: `(B, C, *positions)` to `(B, C)`. Vectors `(B, C)` are returned unchanged.

    Args:
        pool: `mean`, `max`, or `none`, which keeps the positions.

    Raises:
        ConfigError: If `pool` is not one of these.
    """

    def __init__(self, pool: Pool) -> None:
        super().__init__()
        check_choice("pool", pool, get_args(Pool))
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        """Pool `(B, C, *positions)`."""
        if self.pool == "none" or x.ndim == 2:
            return x
        positions = x.flatten(2)
        return positions.mean(2) if self.pool == "mean" else positions.amax(2)


def convolution(
    in_shape: Shape, width: int, kernel_size: int, stride: int = 1, dilation: int = 1, bias: bool = True
) -> nn.Conv2d:
    """Convolution over an image `(C, H, W)`, or over time alone for a signal `(C, T)`; n becomes ceil(n / stride)."""
    padding = _each(in_shape, dilation * (kernel_size // 2), 0)
    kernel, strides, dilations = (_each(in_shape, n, 1) for n in (kernel_size, stride, dilation))
    return nn.Conv2d(in_shape[0], width, kernel, strides, padding, dilations, bias=bias)


def max_pool(in_shape: Shape, kernel_size: int = 2, stride: int = 2) -> nn.MaxPool2d:
    """Max-pool over an image, or over time alone for a signal; odd kernels are padded by half their size."""
    padding = kernel_size // 2 if kernel_size % 2 else 0
    return nn.MaxPool2d(_each(in_shape, kernel_size, 1), _each(in_shape, stride, 1), _each(in_shape, padding, 0))


def normalization(norm: Norm, width: int) -> list[nn.Module]:
    """Normalisation layer, if any. With `group`, the number of groups is the largest divisor of `width` up to 8."""
    if norm == "batch":
        return [nn.BatchNorm2d(width)]
    if norm == "group":
        return [nn.GroupNorm(max(groups for groups in range(1, 9) if width % groups == 0), width)]
    return []


def halve(in_shape: Shape, stage: int, sizes: Shape, up: bool = False) -> Shape:
    """Halve each size, rounding down or up, in a stage (counted from 1).

    Raises:
        ConfigError: If a size is already 1.
    """
    if min(sizes) < 2:
        raise ConfigError(
            f"Expected an input large enough to be halved by each stage, but `in_shape`={in_shape} is down to {sizes}"
            f" before stage {stage}. Use at most {stage - 1} widths, larger inputs, or `downsample: none`."
        )
    return tuple((size + up) // 2 for size in sizes)


def per_stage(argument: str, value: T | Sequence[T], widths: Sequence[int]) -> list[T]:
    """List of one value per stage; a single value is repeated.

    Raises:
        ConfigError: If the number of values differs from that of `widths`.
    """
    if isinstance(value, str) or not isinstance(value, Sequence):
        return [value] * len(widths)
    if len(value) != len(widths):
        raise ConfigError(
            f"Expected `{argument}` to be one value for all stages, or one per stage, {len(widths)} as in `widths`, but"
            f" got {len(value)}: {list(value)}."
        )
    return list(value)


def check_kernel(argument: str, kernel_size: int) -> None:
    """Check that a kernel size is positive and odd.

    Raises:
        ConfigError: If it is even, or not positive.
    """
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ConfigError(f"Expected `{argument}` to be odd, so that padding keeps the size, but got {kernel_size}.")


def check_choice(argument: str, value: str, choices: tuple[str, ...]) -> None:
    """Check that a value is one of the choices.

    Raises:
        ConfigError: If it is not.
    """
    if value not in choices:
        raise ConfigError(f"Expected `{argument}` to be one of {choices}, but got {value!r}.")


def check_at_least(argument: str, value: int, least: int) -> None:
    """Check that a number is at least `least`.

    Raises:
        ConfigError: If it is not.
    """
    if value < least:
        raise ConfigError(f"Expected `{argument}` to be at least {least}, but got {value}.")


def _each(in_shape: Shape, size: int, height: int) -> tuple[int, int]:
    """`(size, size)` for an image; `(height, size)` for a signal, which is an image of height 1."""
    return size if len(in_shape) == 3 else height, size
