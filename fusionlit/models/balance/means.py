"""Means over an epoch, which synchronise with the device once per epoch."""

from collections.abc import Iterable

import torch
import torch.distributed
from torch import Tensor


class EpochMeans:
    """Weighted means of named numbers over an epoch and all processes.

    Args:
        names: Names of the numbers, in the order in which they are added.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names = list(names)
        self._sums: Tensor | None = None

    def add(self, values: Tensor, weights: Tensor | None = None) -> None:
        """Add a batch: `values` and `weights` `(N,)`; default weights: 1. Values with weight zero are ignored."""
        values = values.detach()
        weights = torch.ones_like(values) if weights is None else weights.detach()
        new = torch.stack([torch.where(weights > 0, values * weights, 0.0), weights])
        self._sums = new if self._sums is None else self._sums + new

    def take(self) -> dict[str, float]:
        """Return the means of numbers with positive weight, and reset."""
        if self._sums is None:
            return {}
        total, weight = across_processes(self._sums).tolist()
        self._sums = None
        return {name: a / b for name, a, b in zip(self.names, total, weight, strict=True) if b > 0}


def across_processes(sums: Tensor) -> Tensor:
    """Sum over all distributed processes; unchanged if there is only one."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        sums = sums.clone()
        torch.distributed.all_reduce(sums)
    return sums
