"""Inception encoder: parallel convolutions of several kernel sizes."""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.utils import convert_conv2d_weight_memory_format

from fusionlit.encoders.base import StagedEncoder
from fusionlit.encoders.layers import (
    ConvStage,
    GlobalPool,
    Norm,
    Pool,
    Residual,
    check_at_least,
    check_choice,
    check_kernel,
    convolution,
    halve,
    max_pool,
    normalization,
    per_stage,
)
from fusionlit.encoders.mlp import check_widths
from fusionlit.errors import ConfigError
from fusionlit.types import Shape

InceptionDownsample = Literal["max_pool", "none"]
KERNELS = {2: (9, 19, 39), 3: (1, 3, 5)}
"""Default kernel sizes by the rank of the input: those of InceptionTime and of GoogLeNet."""


class InceptionEncoder(StagedEncoder):
    """Stages of inception modules, each with a residual shortcut; the defaults are InceptionTime's.

    With b = width / (K + 1) channels for each of K kernels and the pool, a module is
    `relu(norm(concat(conv_1(z), ..., conv_K(z), conv_1x1(max_pool_3(x)))))`, where z is a 1x1 convolution of x to b
    channels (x itself if it has one channel). A stage is `relu(modules(x) + norm(conv_1x1(x)))`, optionally followed by
    max-pool. InceptionTime's kernel sizes are 10, 20 and 40; odd ones are centred on a time step. InceptionTime ends
    with the mean over time and a linear layer: set `pool: mean` here, or in MLPHead, so that CentralNet can fuse before
    pooling.

    Source: Ismail Fawaz et al., "InceptionTime: Finding AlexNet for time series classification", 2020 (arXiv
    1909.04939).

    Args:
        in_shape: `(C, T)` for convolutions over time, `(C, H, W)` for convolutions over an image.
        widths: Output channels of each stage, a multiple of K + 1.
        kernel_sizes: Kernel sizes of the parallel convolutions, odd; default: 9, 19, 39 over time, 1, 3, 5 over an
            image.
        modules: Number of inception modules per stage. One number for all stages, or a list.
        downsample: `max_pool` ends a stage with a max-pool over 2: n becomes floor(n / 2). One for all stages, or a
            list.
        norm: Normalisation. With `group`, the number of groups is the largest divisor of the width up to 8.
        channel_dropout: Probability of zeroing a whole channel after each stage.
        pool: Pooling over all positions at the end of the last stage, whose output is then `(width,)`.

    Raises:
        ConfigError: If the arguments do not fit each other or the input; the message names the argument.
    """

    def __init__(
        self,
        in_shape: Shape,
        widths: Sequence[int] = (128, 128),
        kernel_sizes: Sequence[int] | None = None,
        modules: int | Sequence[int] = 3,
        downsample: InceptionDownsample | Sequence[InceptionDownsample] = "none",
        norm: Norm = "batch",
        channel_dropout: float = 0.0,
        pool: Pool = "none",
    ) -> None:
        super().__init__()
        if len(in_shape) not in KERNELS:
            raise ConfigError(
                f"Expected `in_shape` of InceptionEncoder to be (C, T) or (C, H, W), but got {in_shape}. For inputs"
                " without spatial or temporal order, use MLPEncoder."
            )
        kernels = KERNELS[len(in_shape)] if kernel_sizes is None else tuple(kernel_sizes)
        check_choice("norm", norm, get_args(Norm))
        _check(widths, kernels)
        shapes = [in_shape]
        self.stages = nn.ModuleList()
        numbers = per_stage("modules", modules, widths)
        halvings: list[InceptionDownsample] = per_stage("downsample", downsample, widths)
        for width, number, halving in zip(widths, numbers, halvings, strict=True):
            check_at_least("modules", number, 1)
            check_choice("downsample", halving, get_args(InceptionDownsample))
            layers: list[nn.Module] = [_residual(shapes[-1], width, kernels, number, norm)]
            sizes = shapes[-1][1:]
            if halving == "max_pool":
                sizes = halve(in_shape, len(shapes), sizes)
                layers.append(max_pool(in_shape))
            if channel_dropout:
                layers.append(nn.Dropout2d(channel_dropout))
            self.stages.append(ConvStage(*layers))
            shapes.append((width, *sizes))
        if pool != "none":
            self.stages[-1] = nn.Sequential(self.stages[-1], GlobalPool(pool))
            shapes[-1] = shapes[-1][:1]
        self._stage_shapes = tuple(shapes[1:])
        convert_conv2d_weight_memory_format(self, torch.channels_last)

    @property
    def stage_shapes(self) -> tuple[Shape, ...]:
        """`(width, T)` or `(width, H, W)` after each stage; `(width,)` after the last if it pools."""
        return self._stage_shapes


class InceptionModule(nn.Module):
    """Parallel convolutions of several kernel sizes and a max-pool; a signal is an image of height 1.

    Args:
        in_shape: `(C, T)` or `(C, H, W)`.
        width: Total output channels of the branches.
        kernel_sizes: Kernel size of each convolution.
        norm: Normalisation of the concatenated branches.
    """

    def __init__(self, in_shape: Shape, width: int, kernel_sizes: Sequence[int], norm: Norm) -> None:
        super().__init__()
        branch, bias, sizes = width // (len(kernel_sizes) + 1), norm == "none", in_shape[1:]
        narrow = (branch if in_shape[0] > 1 else 1, *sizes)
        self.bottleneck = convolution(in_shape, branch, 1, bias=False) if in_shape[0] > 1 else nn.Identity()
        self.branches = nn.ModuleList(convolution(narrow, branch, size, bias=bias) for size in kernel_sizes)
        self.pooled = nn.Sequential(max_pool(in_shape, 3, 1), convolution(in_shape, branch, 1, bias=bias))
        self.norm = nn.Sequential(*normalization(norm, width))

    def forward(self, x: Tensor) -> Tensor:
        """Map `(B, C, H, W)` to `(B, width, H, W)`."""
        narrow = self.bottleneck(x)
        y: Tensor = self.norm(torch.cat([*(branch(narrow) for branch in self.branches), self.pooled(x)], dim=1))
        return y.relu()


def _residual(in_shape: Shape, width: int, kernel_sizes: Sequence[int], modules: int, norm: Norm) -> Residual:
    inner = (width, *in_shape[1:])
    path = [InceptionModule(inner if i else in_shape, width, kernel_sizes, norm) for i in range(modules)]
    shortcut = [convolution(in_shape, width, 1, bias=norm == "none"), *normalization(norm, width)]
    return Residual(nn.Sequential(*path), nn.Sequential(*shortcut))


def _check(widths: Sequence[int], kernel_sizes: Sequence[int]) -> None:
    check_widths("widths", widths)
    for argument, value in (("widths", widths), ("kernel_sizes", kernel_sizes)):
        if not value:
            raise ConfigError(
                f"Expected `{argument}` of InceptionEncoder to hold at least one number, but it is empty."
            )
    for size in kernel_sizes:
        check_kernel("kernel_sizes", size)
    branches = len(kernel_sizes) + 1
    if any(width % branches for width in widths):
        raise ConfigError(
            f"Expected every width in `widths` to be a multiple of {branches}, the number of branches"
            f" ({len(kernel_sizes)} `kernel_sizes` and a pool), but got {list(widths)}."
        )
