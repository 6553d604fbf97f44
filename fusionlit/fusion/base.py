"""Base class of fusion operators."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import ClassVar

import torch
from torch import Tensor, nn

from fusionlit.contracts import Whole
from fusionlit.errors import ConfigError
from fusionlit.functional import per_sample
from fusionlit.types import Shape, TargetSpec

Features = dict[str, Tensor]
Presence = dict[str, Tensor]


class ShapeMismatchError(ConfigError):
    """The shapes of the sources are incompatible; fusion models then project them to a common shape."""

    def __init__(self, operator: str, expected: str, shapes: dict[str, Shape]) -> None:
        super().__init__(f"Expected the sources of {operator} to have {expected}, but got {shapes}.")


class FusionOperator(nn.Module, Whole, ABC):
    """Combines several named features into one. Pure: no Lightning, no logging, no counters.

    (Operators with sample-dependent weights store their mean over the last training batch: `BatchWeights`.)

    A subclass takes `shapes` as its first argument and implements `out_shape` and `forward`. An operator that sums
    weighted sources also implements `fusion_weights`, `fusion_parameters` and `energy`.

    Args:
        shapes: Shape of each source without the batch dimension; its order is the order of the sources.

    Raises:
        ConfigError: If `shapes` is empty.
    """

    gives_prediction: ClassVar[bool] = False
    """Whether predictions as sources give a prediction, so that no head is needed; other operators, such as gates,
    would bound it or change its scale."""

    def __init__(self, shapes: dict[str, Shape]) -> None:
        super().__init__()
        if not shapes:
            raise ConfigError(f"Expected {type(self).__name__} to have at least one source, but `shapes` is empty.")
        self.shapes = {source: tuple(shape) for source, shape in shapes.items()}

    @property
    @abstractmethod
    def out_shape(self) -> Shape:
        """Shape of the fused features, without the batch dimension."""

    @abstractmethod
    def forward(self, features: Features, presence: Presence | None = None) -> Tensor:
        """Fuse `features[source]` `(B, *shape)` into `(B, *out_shape)`.

        `presence[source]` `(B,)` is true where the sample has the source; None: all are present. Features may have any
        strides, such as channels-last: use `reshape` or `flatten`, not `view`.
        """

    def fusion_weights(self) -> dict[str, Tensor]:
        """Effective weight of each source (after the softmax, if any); empty if the operator has none."""
        return {}

    def fusion_parameters(self) -> Iterable[nn.Parameter]:
        """Parameters that determine `fusion_weights`; they form an optimizer group of their own."""
        return ()

    def energy(self, features: Features, presence: Presence | None = None) -> dict[str, Tensor]:
        """Mean square `(B,)` of each weighted source, for contributions; empty if the operator is not a sum."""
        return {}

    def check_target(self, target: TargetSpec) -> None:
        """Raise ConfigError if predictions of this target cannot be fused this way; by default all can."""

    @property
    def has_energy(self) -> bool:
        """Whether the operator is a sum of weighted sources and so has contributions."""
        return type(self).energy is not FusionOperator.energy

    def fill_missing(self, features: Features, presence: Presence | None, value: float | Tensor) -> list[Tensor]:
        """Sources in order, with `value` (the neutral element of the operation) in place of missing ones."""
        if presence is None:
            return [features[source] for source in self.shapes]
        return [
            torch.where(per_sample(presence[source], x), x, torch.as_tensor(value, dtype=x.dtype, device=x.device))
            for source, x in ((source, features[source]) for source in self.shapes)
        ]

    def common_shape(self) -> Shape:
        """Common shape of all sources.

        Raises:
            ShapeMismatchError: If the shapes differ.
        """
        if len(set(self.shapes.values())) > 1:
            raise ShapeMismatchError(type(self).__name__, "one shape", self.shapes)
        return next(iter(self.shapes.values()))


FusionFactory = Callable[[dict[str, Shape]], FusionOperator]
