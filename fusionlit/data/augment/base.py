"""What an augmentation is."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from fusionlit.contracts import Whole
from fusionlit.types import Modalities, TargetSpec


class Augmentation(Whole, ABC):
    """Random variations of a training batch, made on its device after `convert`.

    A data module calls `check` before the first batch, and again whenever training starts.
    """

    @abstractmethod
    def check(self, modalities: Modalities, target: TargetSpec | None, rays: Mapping[str, Tensor]) -> None:
        """Refuse data that cannot be varied.

        Args:
            modalities: What each modality is, or its bare shape.
            target: What is predicted, if anything; it is not varied.
            rays: Unit directions `(3, H, W)` of the pixels of each modality of points whose sensor is known.
        """

    @abstractmethod
    def __call__(self, inputs: dict[str, Tensor], seed: Sequence[int]) -> dict[str, Tensor]:
        """Varied inputs; the given ones stay as they are.

        Args:
            inputs: Floats `(B, *shape)` by modality, all on one device.
            seed: Numbers >= 0. The random numbers depend on them and on the kind of device, and on nothing else.
        """


def seeded(seed: Sequence[int], device: torch.device) -> torch.Generator:
    """A generator on this device, in the state that all numbers of the seed make together."""
    (state,) = np.random.SeedSequence(list(seed)).generate_state(1, np.uint64)
    return torch.Generator(device).manual_seed(int(state))


def uniform(count: int, largest: float, generator: torch.Generator) -> Tensor:
    """Numbers `(count,)` in [-largest, largest)."""
    return largest * (2 * torch.rand(count, generator=generator, device=generator.device) - 1)


def normal(shape: Sequence[int], like: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal numbers in the type of `like`."""
    return torch.randn(shape, generator=generator, device=like.device, dtype=like.dtype)
