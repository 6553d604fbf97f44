"""What an encoder is."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from torch import Tensor, nn

from fusionlit.contracts import Whole
from fusionlit.types import Shape


class Encoder(nn.Module, Whole, ABC):
    """From one modality to its features: `(B, *in_shape)` to `(B, *out_shape)`.

    A subclass takes the input's shape as its first argument and has `out_shape`; all its other arguments have
    defaults, so that the class itself is an `EncoderFactory`.
    """

    initial_files: ClassVar[tuple[str, ...]] = ()
    """Arguments that name files of initial weights; a checkpoint leaves them out, since it has the weights itself."""

    @property
    @abstractmethod
    def out_shape(self) -> Shape:
        """Shape of the features, without the batch."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Features `(B, *out_shape)` of `x` `(B, *in_shape)`."""


class StagedEncoder(Encoder):
    """An encoder that exposes its stages, the depths at which CentralNet fuses.

    A subclass fills `stages` and has `stage_shapes`; the output of the last stage is the encoder's output.
    """

    stages: nn.ModuleList

    @property
    @abstractmethod
    def stage_shapes(self) -> tuple[Shape, ...]:
        """Shape behind each stage, without the batch."""

    @property
    def out_shape(self) -> Shape:
        """Shape behind the last stage."""
        return self.stage_shapes[-1]

    def forward(self, x: Tensor) -> Tensor:
        """Output of the last stage."""
        for stage in self.stages:
            x = stage(x)
        return x


class Head(nn.Module, Whole, ABC):
    """From features to a prediction: `(B, *in_shape)` to `(B, out_size)`.

    A subclass takes `in_shape` and `out_size` as its first two arguments.
    """

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor:
        """Prediction `(B, out_size)`; no activation behind the last layer. Features may have any strides."""


EncoderFactory = Callable[[Shape], Encoder]
HeadFactory = Callable[[Shape, int], Head]
