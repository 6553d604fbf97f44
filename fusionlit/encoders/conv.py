"""The convolutional encoder, for signals and for images."""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.utils import convert_conv2d_weight_memory_format

from fusionlit.encoders.base import StagedEncoder
from fusionlit.encoders.mlp import check_widths, dense_stages
from fusionlit.errors import ConfigError
from fusionlit.types import Shape

Downsample = Literal["max_pool", "stride", "conv"]
Norm = Literal["none", "batch", "group"]


class ConvEncoder(StagedEncoder):
    """Convolutional stages, each half the size of the one before, then dense stages.

    A convolutional stage is, by `downsample`:

    - `max_pool`: convolution, norm, max-pool over 2, ReLU. The pool stands before the ReLU, with which it commutes, so
      that the ReLU has less to do. An odd last row is dropped: n becomes floor(n / 2).
    - `stride`: convolution of stride 2, norm, ReLU; n becomes ceil(n / 2).
    - `conv`: convolution, norm, ReLU, then another convolution of the same width with stride 2, ReLU; ceil(n / 2).

    A dense stage is Linear, ReLU, Dropout on the flattened input. Weights are held channels-last, and features come so:
    what follows takes them apart by `reshape` or `flatten`, not by `view`.

    Args:
        in_shape: `(C, T)` for convolutions over time, `(C, H, W)` for convolutions over an image.
        widths: Channels behind each convolutional stage.
        kernel_size: Odd; the padding keeps the size.
        downsample: What halves the size.
        norm: Normalisation behind the first convolution of a stage. `group` takes as many groups as the largest divisor
            of the width up to 8. Convolutions without normalisation have a bias.
        dense: Features behind each dense stage.
        dropout: Probability of zeroing a feature behind each dense stage.

    Raises:
        ConfigError: If the arguments do not fit each other or the input; the message names the argument.
    """

    def __init__(
        self,
        in_shape: Shape,
        widths: Sequence[int] = (32, 64, 128),
        kernel_size: int = 3,
        downsample: Downsample = "max_pool",
        norm: Norm = "none",
        dense: Sequence[int] = (),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        _check(in_shape, widths, kernel_size, downsample, norm, dense)
        shapes = [in_shape]
        self.stages = nn.ModuleList()
        for width in widths:
            self.stages.append(_conv_stage(shapes[-1], width, kernel_size, downsample, norm))
            shapes.append((width, *_halve(in_shape, len(shapes), shapes[-1][1:], downsample)))
        self.stages.extend(dense_stages(shapes[-1], dense, dropout))
        self._stage_shapes = (*shapes[1:], *((width,) for width in dense))
        convert_conv2d_weight_memory_format(self, torch.channels_last)

    @property
    def stage_shapes(self) -> tuple[Shape, ...]:
        """`(width, T)` or `(width, H, W)` behind each convolutional stage, `(width,)` behind each dense one."""
        return self._stage_shapes


class ConvStage(nn.Sequential):
    """Layers for images, of which a signal is one of height 1.

    Channels-last memory, in which convolutions and pooling are faster on a CPU, torch has for images only
    (`benchmarks/training.py`).
    """

    def forward(self, x: Tensor) -> Tensor:
        """From `(B, C, T)` or `(B, C, H, W)` to the same kind."""
        y: Tensor = super().forward(x if x.ndim == 4 else x.unsqueeze(2))  # type: ignore[no-untyped-call]  # torch's
        return y if x.ndim == 4 else y.squeeze(2)


def _conv_stage(shape: Shape, width: int, kernel_size: int, downsample: Downsample, norm: Norm) -> ConvStage:
    def each(size: int, height: int) -> tuple[int, int]:
        return size if len(shape) == 3 else height, size

    kernel, padding, two = each(kernel_size, 1), each(kernel_size // 2, 0), each(2, 1)
    stride = two if downsample == "stride" else 1
    layers: list[nn.Module] = [nn.Conv2d(shape[0], width, kernel, stride, padding, bias=norm == "none")]
    if norm == "batch":
        layers.append(nn.BatchNorm2d(width))
    elif norm == "group":
        layers.append(nn.GroupNorm(max(groups for groups in range(1, 9) if width % groups == 0), width))
    if downsample == "max_pool":
        layers.append(nn.MaxPool2d(two))
    layers.append(nn.ReLU())
    if downsample == "conv":
        layers += [nn.Conv2d(width, width, kernel, two, padding), nn.ReLU()]
    return ConvStage(*layers)


def _halve(in_shape: Shape, stage: int, sizes: Shape, downsample: Downsample) -> Shape:
    if min(sizes) < 2:
        raise ConfigError(
            f"Expected an input that each of `widths` can halve, but `in_shape`={in_shape} has come down to {sizes}"
            f" before stage {stage}. Give at most {stage - 1} widths, or larger inputs."
        )
    return tuple(size // 2 if downsample == "max_pool" else (size + 1) // 2 for size in sizes)


def _check(
    in_shape: Shape, widths: Sequence[int], kernel_size: int, downsample: str, norm: str, dense: Sequence[int]
) -> None:
    if len(in_shape) not in (2, 3):
        raise ConfigError(
            f"Expected `in_shape` of ConvEncoder to be (C, T) or (C, H, W), but got {in_shape}. For an input without"
            " neighbourhood take MLPEncoder."
        )
    if not widths and not dense:
        raise ConfigError("Expected `widths` or `dense` of ConvEncoder to hold a width, but both are empty.")
    check_widths("widths", widths)
    check_widths("dense", dense)
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ConfigError(f"Expected `kernel_size` to be odd, so that padding keeps the size, but got {kernel_size}.")
    for argument, value, choices in (("downsample", downsample, Downsample), ("norm", norm, Norm)):
        if value not in get_args(choices):
            raise ConfigError(f"Expected `{argument}` to be one of {get_args(choices)}, but got {value!r}.")
