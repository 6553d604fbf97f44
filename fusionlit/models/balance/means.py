"""Means over an epoch, which wait for the device once per epoch."""

from collections.abc import Iterable

import torch
import torch.distributed
from torch import Tensor


class EpochMeans:
    """Weighted means of named numbers over an epoch and all processes.

    Args:
        names: In the order of what is added.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names = list(names)
        self._sums: Tensor | None = None

    def add(self, values: Tensor, weights: Tensor | None = None) -> None:
        """Add a batch: `values` and `weights` `(N,)`; without weights, 1 each. What has no weight counts nothing."""
        values = values.detach()
        weights = torch.ones_like(values) if weights is None else weights.detach()
        new = torch.stack([torch.where(weights > 0, values * weights, 0.0), weights])
        self._sums = new if self._sums is None else self._sums + new

    def take(self) -> dict[str, float]:
        """The means of what has any weight, and begin afresh."""
        if self._sums is None:
            return {}
        total, weight = across_processes(self._sums).tolist()
        self._sums = None
        return {name: a / b for name, a, b in zip(self.names, total, weight, strict=True) if b > 0}


def across_processes(sums: Tensor) -> Tensor:
    """Sum over all processes that train together; itself if there is one."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        sums = sums.clone()
        torch.distributed.all_reduce(sums)
    return sums
