"""Base classes of encoders and heads."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from torch import Tensor, nn

from fusionlit.contracts import Whole
from fusionlit.types import Shape


class Encoder(nn.Module, Whole, ABC):
    """Maps a modality to features: `(B, *in_shape)` to `(B, *out_shape)`.

    A subclass takes the input shape as its first argument and implements `out_shape` and `forward`; all other arguments
    have defaults, so that the class itself is an `EncoderFactory`.
    """

    initial_files: ClassVar[tuple[str, ...]] = ()
    """Arguments that name files of initial weights; not saved in checkpoints, which contain the weights themselves."""

    @property
    @abstractmethod
    def out_shape(self) -> Shape:
        """Shape of the features, without the batch dimension."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Features `(B, *out_shape)` of `x` `(B, *in_shape)`."""


class StagedEncoder(Encoder):
    """An encoder that exposes its stages, so that fusion can happen after each of them.

    A subclass sets `stages` and implements `stage_shapes`; the output of the last stage is the encoder's output.
    """

    stages: nn.ModuleList

    @property
    @abstractmethod
    def stage_shapes(self) -> tuple[Shape, ...]:
        """Output shape of each stage, without the batch dimension."""

    @property
    def out_shape(self) -> Shape:
        """Output shape of the last stage."""
        return self.stage_shapes[-1]

    def forward(self, x: Tensor) -> Tensor:
        """Output of the last stage."""
        for stage in self.stages:
            x = stage(x)
        return x


class Head(nn.Module, Whole, ABC):
    """Maps features to a prediction: `(B, *in_shape)` to `(B, out_size)`.

    A subclass takes `in_shape` and `out_size` as its first two arguments.
    """

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor:
        """Prediction `(B, out_size)`, without a final activation. Features may have any strides."""


EncoderFactory = Callable[[Shape], Encoder]
HeadFactory = Callable[[Shape, int], Head]
