"""Held-out samples: training samples that train only the fusion weights."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import NamedTuple

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn

from fusionlit.errors import ConfigError

GOLDEN = 2654435769
"""Fraction of the golden ratio times 2**32: its multiples modulo 2**32, also every k-th of them, are evenly spread."""


class HeldOutLoss(NamedTuple):
    """Losses of one training step, for its backward pass.

    Args:
        loss: Loss of the held-out samples, for the fusion weights.
        total: Loss of the other samples, for all other parameters, as returned to the trainer.
    """

    loss: Tensor
    total: Tensor

    def backward(self, total: Tensor, weights: list[nn.Parameter], backward: Callable[[], None]) -> None:
        """Run `backward`, which differentiates `total`, but give the fusion weights the gradients of `loss`.

        Gradients are replaced before accumulation, so that later steps, such as averaging over processes, treat them
        like all others. If `total` is scaled (half precision, gradient accumulation), so is `loss`.
        """
        scale = torch.autograd.grad(total, self.total, retain_graph=True)
        gradients = torch.autograd.grad(self.loss, weights, scale, retain_graph=True, materialize_grads=True)
        with ExitStack() as hooks:
            for parameter, gradient in zip(weights, gradients, strict=True):
                hooks.callback(parameter.register_hook(partial(_instead, gradient)).remove)  # type: ignore[no-untyped-call]
            backward()


def is_held_out(index: Tensor, share: float) -> Tensor:
    """Mask `(B,)` of the held-out samples, from their `index` `(B,)` alone: the same in every epoch and process."""
    return (index.long() * GOLDEN) % 2**32 < round(share * 2**32)


def share_to_hold(given: float | None, default: float, weights: list[nn.Parameter]) -> float:
    """Share of the training samples to hold out for these weights; 0 without weights.

    Raises:
        ConfigError: If a share is given, but there are no weights.
    """
    if given and not weights:
        raise ConfigError(
            "Expected trainable fusion weights for `fusion_held_out`, but this model has none. Set it to 0."
        )
    return (default if given is None else given) if weights else 0.0


def warn_of_none_held_out(any_held_out: Tensor, share: float) -> None:
    """Warn if no training sample is held out."""
    if not any_held_out:
        rank_zero_warn(
            f"None of the training samples was held out (`fusion_held_out` is {share}), since there are too few: the"
            " fusion weights do not change. Set `training.fusion_held_out` to 0."
        )


def _instead(gradient: Tensor, _: Tensor) -> Tensor:
    return gradient
