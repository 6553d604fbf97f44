"""Fusion weights that learn from training samples which the rest of the network does not learn from."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import NamedTuple

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn

from fusionlit.errors import ConfigError

GOLDEN = 2654435769
"""The golden ratio's fraction times 2**32: its multiples modulo 2**32 lie evenly, and so do those of every k-th one."""


class HeldOutLoss(NamedTuple):
    """What one training step leaves to its backward pass.

    Args:
        loss: Loss of the held-out samples, for the fusion weights.
        total: Loss of the other samples, for everything else, as the step gave it to the trainer.
    """

    loss: Tensor
    total: Tensor

    def backward(self, total: Tensor, weights: list[nn.Parameter], backward: Callable[[], None]) -> None:
        """Run `backward`, which differentiates `total`, with gradients of `loss` in place of those of the weights.

        They are replaced before they are accumulated, so that what follows, such as the mean over processes, takes them
        as it takes the others. `total` may be scaled, for half precision or gradient accumulation; so is `loss` then.
        """
        scale = torch.autograd.grad(total, self.total, retain_graph=True)
        gradients = torch.autograd.grad(self.loss, weights, scale, retain_graph=True, materialize_grads=True)
        with ExitStack() as hooks:
            for parameter, gradient in zip(weights, gradients, strict=True):
                hooks.callback(parameter.register_hook(partial(_instead, gradient)).remove)  # type: ignore[no-untyped-call]
            backward()


def is_held_out(index: Tensor, share: float) -> Tensor:
    """Which samples `(B,)` are held out, by their `index` `(B,)` alone: the same in every epoch and process."""
    return (index.long() * GOLDEN) % 2**32 < round(share * 2**32)


def share_to_hold(given: float | None, default: float, weights: list[nn.Parameter]) -> float:
    """The share of the training samples to hold out for these weights; none for no weights.

    Raises:
        ConfigError: If a share is given, but there are no weights.
    """
    if given and not weights:
        raise ConfigError(
            "Expected fusion weights that are trained for `fusion_held_out`, but this model has none. Set it to 0."
        )
    return (default if given is None else given) if weights else 0.0


def warn_of_none_held_out(any_held_out: Tensor, share: float) -> None:
    """Say so if not one training sample is held out."""
    if not any_held_out:
        rank_zero_warn(
            f"None of the training samples was held out (`fusion_held_out` is {share}), so that the fusion weights stay"
            " as they are: there are too few samples. Set `training.fusion_held_out` to 0."
        )


def _instead(gradient: Tensor, _: Tensor) -> Tensor:
    return gradient
