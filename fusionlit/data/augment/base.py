"""Base class of augmentations."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from fusionlit.contracts import Whole
from fusionlit.types import Modalities, TargetSpec


class Augmentation(Whole, ABC):
    """Randomly varies training batches, on the device, after `convert`.

    A data module calls `check` before the first batch, and again whenever training starts.
    """

    @abstractmethod
    def check(self, modalities: Modalities, target: TargetSpec | None, rays: Mapping[str, Tensor]) -> None:
        """Raise ConfigError unless the data can be augmented.

        Args:
            modalities: Spec or shape of each modality.
            target: Prediction target, if any; it is not varied.
            rays: Unit directions `(3, H, W)` of the pixels of each modality of kind `points` whose sensor is known.
        """

    @abstractmethod
    def __call__(self, inputs: dict[str, Tensor], seed: Sequence[int]) -> dict[str, Tensor]:
        """Augmented inputs; the given tensors are not changed.

        Args:
            inputs: Floats `(B, *shape)` by modality, all on one device.
            seed: Numbers >= 0; the random numbers depend only on them and on the type of device.
        """


def seeded(seed: Sequence[int], device: torch.device) -> torch.Generator:
    """A generator on this device, seeded with all of these numbers together."""
    (state,) = np.random.SeedSequence(list(seed)).generate_state(1, np.uint64)
    return torch.Generator(device).manual_seed(int(state))


def uniform(count: int, largest: float, generator: torch.Generator) -> Tensor:
    """Uniform random numbers `(count,)` in [-largest, largest)."""
    return largest * (2 * torch.rand(count, generator=generator, device=generator.device) - 1)


def normal(shape: Sequence[int], like: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal random numbers in the data type of `like`."""
    return torch.randn(shape, generator=generator, device=like.device, dtype=like.dtype)
