"""Recurrent encoder for signals."""

from collections.abc import Sequence
from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusionlit.encoders.base import StagedEncoder
from fusionlit.encoders.layers import GlobalPool, Pool, check_choice, halve
from fusionlit.encoders.mlp import check_widths
from fusionlit.errors import ConfigError
from fusionlit.types import Shape

Cell = Literal["gru", "lstm"]
RecurrentDownsample = Literal["avg_pool", "none"]
RecurrentPool = Literal["none", "mean", "max", "last"]


class RecurrentEncoder(StagedEncoder):
    """Recurrent layers over time, one per stage, with the time steps halved between stages.

    A stage is the recurrent layer, Dropout and, except in the last stage, average pooling over 2 steps: T becomes
    floor(T / 2).

    Args:
        in_shape: `(C, T)`.
        widths: Output features of each stage.
        cell: `gru` (Cho et al. 2014, arXiv 1406.1078) or `lstm` (Hochreiter and Schmidhuber 1997).
        bidirectional: Process the signal in both directions; each gives half of the features.
        downsample: How time is halved between stages: `avg_pool` or `none`.
        pool: Pooling over time in the last stage: `none` keeps time; `mean`, `max` and `last` give `(width,)`. `last`
            is the final state of each direction: at the end of the signal, for the backward half at its beginning.
        dropout: Probability of zeroing a feature after each recurrent layer.

    Raises:
        ConfigError: If the arguments do not fit each other or the input; the message names the argument.
    """

    def __init__(
        self,
        in_shape: Shape,
        widths: Sequence[int] = (64, 64, 64),
        cell: Cell = "gru",
        bidirectional: bool = False,
        downsample: RecurrentDownsample = "avg_pool",
        pool: RecurrentPool = "none",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        _check(in_shape, widths, bidirectional)
        choices = (("cell", cell, Cell), ("downsample", downsample, RecurrentDownsample), ("pool", pool, RecurrentPool))
        for argument, value, allowed in choices:
            check_choice(argument, value, get_args(allowed))
        shapes = [in_shape]
        self.stages = nn.ModuleList()
        for width in widths:
            channels, steps = shapes[-1]
            halved = downsample != "none" and len(shapes) < len(widths)
            (steps,) = halve(in_shape, len(shapes), (steps,)) if halved else (steps,)
            self.stages.append(RecurrentStage(channels, width, cell, bidirectional, dropout, halved))
            shapes.append((width, steps))
        if pool != "none":
            vector = LastState(bidirectional) if pool == "last" else GlobalPool(cast(Pool, pool))
            self.stages[-1] = nn.Sequential(self.stages[-1], vector)
            shapes[-1] = shapes[-1][:1]
        self._stage_shapes = tuple(shapes[1:])

    @property
    def stage_shapes(self) -> tuple[Shape, ...]:
        """`(width, T)` after each stage; `(width,)` after the last if it pools."""
        return self._stage_shapes


class RecurrentStage(nn.Module):
    """Recurrent layer, dropout, and average pooling over 2 steps if `halved`."""

    def __init__(
        self, channels: int, width: int, cell: Cell, bidirectional: bool, dropout: float, halved: bool
    ) -> None:
        super().__init__()
        layer = nn.GRU if cell == "gru" else nn.LSTM
        self.layer = layer(channels, width // (1 + bidirectional), batch_first=True, bidirectional=bidirectional)
        self.dropout = nn.Dropout(dropout)
        self.halved = halved

    def forward(self, x: Tensor) -> Tensor:
        """Map `(B, C, T)` to `(B, width, T)`, or `(B, width, T // 2)` if halved."""
        states: Tensor = self.dropout(self.layer(x.mT)[0]).mT
        return F.avg_pool1d(states, 2) if self.halved else states


class LastState(nn.Module):
    """Final state of each direction: `(B, C, T)` to `(B, C)`."""

    def __init__(self, bidirectional: bool) -> None:
        super().__init__()
        self.bidirectional = bidirectional

    def forward(self, states: Tensor) -> Tensor:
        """Last step of the forward channels and first step of the backward channels."""
        if not self.bidirectional:
            return states[..., -1]
        forward, backward = states.chunk(2, dim=1)
        return torch.cat([forward[..., -1], backward[..., 0]], dim=1)


def _check(in_shape: Shape, widths: Sequence[int], bidirectional: bool) -> None:
    if len(in_shape) != 2:
        raise ConfigError(
            f"Expected `in_shape` of RecurrentEncoder to be (C, T), but got {in_shape}. For images use ConvEncoder,"
            " for vectors MLPEncoder."
        )
    if not widths:
        raise ConfigError("Expected `widths` of RecurrentEncoder to hold at least one width, but it is empty.")
    check_widths("widths", widths)
    if bidirectional and any(width % 2 for width in widths):
        raise ConfigError(
            f"Expected every width in `widths` to be even, since `bidirectional` splits it in half, but got"
            f" {list(widths)}."
        )
