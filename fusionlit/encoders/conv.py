"""Convolutional encoder for signals and images."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import torch
from torch import nn
from torch.nn.utils import convert_conv2d_weight_memory_format

from fusionlit.encoders.base import StagedEncoder
from fusionlit.encoders.layers import (
    ConvStage,
    Norm,
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
from fusionlit.encoders.mlp import check_widths, dense_stages
from fusionlit.errors import ConfigError
from fusionlit.types import Shape

Downsample = Literal["max_pool", "stride", "conv", "none"]


class ConvEncoder(StagedEncoder):
    """Convolutional stages, each of which halves or keeps the spatial size, then dense stages.

    A convolutional stage is, by `downsample`:

    - `max_pool`: convolution, norm, max-pool over 2, ReLU. Max-pool and ReLU commute; pooling first is cheaper. An odd
      last row is dropped: n becomes floor(n / 2).
    - `stride`: convolution with stride 2, norm, ReLU; n becomes ceil(n / 2).
    - `conv`: convolution, norm, ReLU, then a second convolution of the same width with stride 2, ReLU; n becomes ceil(n
      / 2).
    - `none`: convolution, norm, ReLU; n is kept.

    `residual_units` follow, each `relu(x + norm(conv(relu(norm(conv(x))))))` (He et al. 2016, arXiv 1512.03385).
    Arguments with one value for all stages also accept a list with one value per stage. Dilated residual stages without
    downsampling, such as `dilation: [1, 2, 4]`, are a non-causal temporal convolutional network (Bai et al. 2018, arXiv
    1803.01271).

    A dense stage is Linear, ReLU, Dropout on the flattened input. Weights and features are in channels-last memory
    format: use `reshape` or `flatten`, not `view`, on the features.

    Args:
        in_shape: `(C, T)` for convolutions over time, `(C, H, W)` for convolutions over an image.
        widths: Output channels of each convolutional stage.
        kernel_size: Kernel size, odd; padding keeps the spatial size. One for all stages, or a list.
        downsample: How a stage halves the spatial size (see above). One for all stages, or a list.
        norm: Normalisation after the first convolution of a stage and after those of residual units. With `group`, the
            number of groups is the largest divisor of the width up to 8. Convolutions without normalisation have a
            bias.
        dense: Output features of each dense stage.
        dropout: Probability of zeroing a feature after each dense stage.
        dilation: Spacing between kernel elements: k weights span dilation * (k - 1) + 1 positions. One for all stages,
            or a list.
        residual_units: Number of residual units at the end of a stage. One for all stages, or a list.
        channel_dropout: Probability of zeroing a whole channel after each convolutional stage.

    Raises:
        ConfigError: If the arguments do not fit each other or the input; the message names the argument.
    """

    def __init__(
        self,
        in_shape: Shape,
        widths: Sequence[int] = (32, 64, 128),
        kernel_size: int | Sequence[int] = 3,
        downsample: Downsample | Sequence[Downsample] = "max_pool",
        norm: Norm = "none",
        dense: Sequence[int] = (),
        dropout: float = 0.0,
        dilation: int | Sequence[int] = 1,
        residual_units: int | Sequence[int] = 0,
        channel_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if len(in_shape) not in (2, 3):
            raise ConfigError(
                f"Expected `in_shape` of ConvEncoder to be (C, T) or (C, H, W), but got {in_shape}. For inputs"
                " without spatial or temporal order, use MLPEncoder."
            )
        if not widths and not dense:
            raise ConfigError(
                "Expected `widths` or `dense` of ConvEncoder to have at least one width, but both are empty."
            )
        check_widths("widths", widths)
        check_widths("dense", dense)
        check_choice("norm", norm, get_args(Norm))
        kernel_sizes, dilations = per_stage("kernel_size", kernel_size, widths), per_stage("dilation", dilation, widths)
        halvings: list[Downsample] = per_stage("downsample", downsample, widths)
        units = per_stage("residual_units", residual_units, widths)
        shapes = [in_shape]
        self.stages = nn.ModuleList()
        for plan in map(_Plan, widths, kernel_sizes, halvings, dilations, units):
            _check(plan)
            self.stages.append(_stage(shapes[-1], plan, norm, channel_dropout))
            sizes = shapes[-1][1:]
            if plan.downsample != "none":
                sizes = halve(in_shape, len(shapes), sizes, up=plan.downsample != "max_pool")
            shapes.append((plan.width, *sizes))
        self.stages.extend(dense_stages(shapes[-1], dense, dropout))
        self._stage_shapes = (*shapes[1:], *((width,) for width in dense))
        convert_conv2d_weight_memory_format(self, torch.channels_last)

    @property
    def stage_shapes(self) -> tuple[Shape, ...]:
        """`(width, T)` or `(width, H, W)` after each convolutional stage, `(width,)` after each dense one."""
        return self._stage_shapes


class _Plan(NamedTuple):
    """Settings of one stage."""

    width: int
    kernel_size: int
    downsample: Downsample
    dilation: int
    residual_units: int


def _stage(in_shape: Shape, plan: _Plan, norm: Norm, channel_dropout: float) -> ConvStage:
    width, kernel_size, downsample, dilation, residual_units = plan

    def conv(shape: Shape, stride: int = 1, normed: bool = True) -> list[nn.Module]:
        bias = not normed or norm == "none"
        layer = convolution(shape, width, kernel_size, stride, dilation, bias)
        return [layer, *(normalization(norm, width) if normed else [])]

    out_shape = (width, *in_shape[1:])
    layers = conv(in_shape, 2 if downsample == "stride" else 1)
    if downsample == "max_pool":
        layers.append(max_pool(in_shape))
    layers.append(nn.ReLU())
    if downsample == "conv":
        layers += [*conv(out_shape, 2, normed=False), nn.ReLU()]
    for _ in range(residual_units):
        layers.append(Residual(nn.Sequential(*conv(out_shape), nn.ReLU(), *conv(out_shape))))
    if channel_dropout:
        layers.append(nn.Dropout2d(channel_dropout))
    return ConvStage(*layers)


def _check(plan: _Plan) -> None:
    check_kernel("kernel_size", plan.kernel_size)
    check_choice("downsample", plan.downsample, get_args(Downsample))
    check_at_least("dilation", plan.dilation, 1)
    check_at_least("residual_units", plan.residual_units, 0)
