"""Test cases of the contract suites: a way to build a part, and inputs for it."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from fusionlit.fusion import Features, Presence
from fusionlit.types import Shape

BATCH = 6


class Case(ABC):
    """One way to build a part, and inputs for it."""

    takes_presence = True

    @abstractmethod
    def make(self) -> nn.Module:
        """A new part from its factory."""

    @abstractmethod
    def inputs(self, batch: int = BATCH) -> Features:
        """Random inputs in float64, the same at every call; a smaller batch is the start of a larger one."""

    @abstractmethod
    def run(self, module: nn.Module, inputs: Features, presence: Presence | None = None) -> Tensor:
        """All outputs of the part, as one tensor `(B, ...)`."""

    def build(self, seed: int = 0) -> Any:  # noqa: ANN401 (the part's own class)
        """A part in float64 and evaluation mode, perturbed away from special initial values, such as gates of zero."""
        reseed(seed)
        module = self.make().double().eval()
        with torch.no_grad():
            for parameter in module.parameters():
                if parameter.requires_grad:
                    spread = parameter.std().item() if parameter.numel() > 1 else 0.0
                    parameter.add_(torch.randn_like(parameter), alpha=0.3 * (spread or 0.3))
        return module

    def presences(self) -> list[Presence | None]:
        """No presence and, if the part takes presence, every subset of the inputs."""
        return [None, subsets(list(self.inputs(1)))] if self.takes_presence else [None]


def subsets(names: list[str]) -> Presence:
    """Presence of a batch with every nonempty subset; with more than four names, only one, all but one, or all."""
    rows = [row for row in product([True, False], repeat=len(names)) if any(row)]
    if len(names) > 4:
        rows = [row for row in rows if sum(row) in (1, len(names) - 1, len(names))]
    return dict(zip(names, torch.tensor(rows).unbind(1), strict=True))


def reseed(seed: int = 0) -> None:
    """Seed only the CPU generator; device generators belong to the caller."""
    torch.default_generator.manual_seed(seed)


def draw(shapes: dict[str, Shape], batch: int) -> Features:
    """Standard normal features `(batch, *shape)` by name, in float64."""
    return {
        name: torch.stack([_sample(shape, 1000 * k + i) for i in range(batch)])
        for k, (name, shape) in enumerate(shapes.items())
    }


def _sample(shape: Shape, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def close(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are equal up to rounding (also to float32); NaN equals NaN."""
    return a.shape == b.shape and torch.allclose(a, b, rtol=1e-5, atol=1e-6, equal_nan=True)


def weigh(out: Tensor) -> Tensor:
    """Scalar sum of the outputs with random weights, so that no symmetry hides a gradient."""
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return (out * weights.to(out.dtype)).sum()


def name_of(factory: Callable[..., Any]) -> str:
    """Name of a class, or of the class in a partial."""
    name: str = getattr(getattr(factory, "func", factory), "__name__", repr(factory))
    return name
