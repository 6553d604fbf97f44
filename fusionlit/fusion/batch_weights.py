"""Weights that differ from sample to sample, told as their mean over a batch of training."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from fusionlit.fusion.base import Presence


class BatchWeights(nn.Module):
    """Keeps the mean weight of each source over the last batch of training: over the samples that have the source.

    Gates and attention are functions of the input, and no parameter holds them: an operator with such weights keeps
    their mean here and answers `fusion_weights` with it. 1 / K before the first batch; a source that no sample of a
    batch has keeps its weight. As the running statistics of batch normalisation, the mean is a buffer that is saved,
    changes in training only, and is that of this process; updating it neither waits for the device nor breaks a
    compiled graph.

    Args:
        sources: Names of the sources.
    """

    mean: Tensor

    def __init__(self, sources: Iterable[str]) -> None:
        super().__init__()
        self.sources = tuple(sources)
        self.register_buffer("mean", torch.full((len(self.sources),), 1 / len(self.sources)))

    def update(self, weights: Tensor, there: Tensor) -> None:
        """Take the weights `(B, K)` of a training batch; `there` `(B, K)` is true where the sample has the source."""
        if not self.training:
            return
        count = there.sum(0)
        wide = weights.detach().to(torch.promote_types(weights.dtype, torch.float32))
        mean = (wide * there).sum(0) / count.clamp(min=1)
        self.mean.copy_(torch.where(count > 0, mean, self.mean))

    def told(self) -> dict[str, Tensor]:
        """Mean weight of each source, a scalar; later batches do not change it."""
        return dict(zip(self.sources, self.mean.clone(), strict=True))


def presence_matrix(sources: Iterable[str], presence: Presence | None, like: Tensor) -> Tensor:
    """Presence `(B, K)` of the sources in order; all true without `presence`, on the device of `like` `(B, ...)`."""
    names = list(sources)
    if presence is None:
        return torch.ones(like.shape[0], len(names), dtype=torch.bool, device=like.device)
    return torch.stack([presence[source] for source in names], dim=1)
