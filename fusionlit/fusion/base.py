"""What a fusion operator is."""

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
    """The sources' shapes do not go together; a strategy answers with learned projections to one shape."""

    def __init__(self, operator: str, expected: str, shapes: dict[str, Shape]) -> None:
        super().__init__(f"Expected the sources of {operator} to have {expected}, but got {shapes}.")


class FusionOperator(nn.Module, Whole, ABC):
    """From several named features to one. Pure: no Lightning, no logging, no counters.

    (Operators whose weights differ from sample to sample keep the mean of the last training batch: `BatchWeights`.)

    A subclass takes `shapes`, the shape of each source without the batch, as its first argument, and has `out_shape`.
    An operator that sums weighted sources also tells its weights, the parameters behind them, and their energy.

    Args:
        shapes: Shape of each source without the batch; its order is the order of the sources.

    Raises:
        ConfigError: If there is no source.
    """

    gives_prediction: ClassVar[bool] = False
    """Whether the output is a prediction where the sources are, so that no head has to follow; others, such as gates,
    would bound it or give it another scale."""

    def __init__(self, shapes: dict[str, Shape]) -> None:
        super().__init__()
        if not shapes:
            raise ConfigError(f"Expected {type(self).__name__} to get at least one source, but `shapes` is empty.")
        self.shapes = {source: tuple(shape) for source, shape in shapes.items()}

    @property
    @abstractmethod
    def out_shape(self) -> Shape:
        """Shape of the fused features, without the batch."""

    @abstractmethod
    def forward(self, features: Features, presence: Presence | None = None) -> Tensor:
        """Fuse `features[source]` `(B, *shape)` to `(B, *out_shape)`.

        `presence[source]` `(B,)` is true where the sample has the source; without it all are there. Features may have
        any strides, such as channels-last: take them apart by `reshape` or `flatten`, not by `view`.
        """

    def fusion_weights(self) -> dict[str, Tensor]:
        """Learned weight of each source, as it acts (after a softmax, say); empty if the operator has none."""
        return {}

    def fusion_parameters(self) -> Iterable[nn.Parameter]:
        """The parameters behind `fusion_weights`; they get an optimizer group of their own."""
        return ()

    def energy(self, features: Features, presence: Presence | None = None) -> dict[str, Tensor]:
        """Mean square `(B,)` of each weighted source, for contributions; empty where the operator is no sum."""
        return {}

    def check_target(self, target: TargetSpec) -> None:
        """Raise ConfigError if predictions for such a target cannot be fused this way; by default all can."""

    @property
    def has_energy(self) -> bool:
        """Whether the operator is a sum of weighted sources, which has contributions."""
        return type(self).energy is not FusionOperator.energy

    def present(self, features: Features, presence: Presence | None, absent: float | Tensor) -> list[Tensor]:
        """The sources in order, with `absent` (the operation's neutral element) where a sample lacks one."""
        if presence is None:
            return [features[source] for source in self.shapes]
        return [
            torch.where(per_sample(presence[source], x), x, torch.as_tensor(absent, dtype=x.dtype, device=x.device))
            for source, x in ((source, features[source]) for source in self.shapes)
        ]

    def common_shape(self) -> Shape:
        """The one shape of all the sources.

        Raises:
            ShapeMismatchError: If they differ.
        """
        if len(set(self.shapes.values())) > 1:
            raise ShapeMismatchError(type(self).__name__, "one shape", self.shapes)
        return next(iter(self.shapes.values()))


FusionFactory = Callable[[dict[str, Shape]], FusionOperator]
