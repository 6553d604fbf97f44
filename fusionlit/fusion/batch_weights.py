"""Sample-dependent fusion weights, reported as their mean over a training batch."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from fusionlit.fusion.base import Presence


class BatchWeights(nn.Module):
    """Stores the mean weight of each source over the last training batch, among the samples that have the source.

    Gates and attention depend on the input and are not parameters: an operator with such weights stores their mean here
    and returns it from `fusion_weights`. It is 1 / K before the first batch; a source that is missing from a whole
    batch keeps its weight. Like the running statistics of batch normalisation, the mean is a saved buffer, updated in
    training only and per process. The update causes no device synchronisation and no graph break.

    Args:
        sources: Names of the sources.
    """

    mean: Tensor

    def __init__(self, sources: Iterable[str]) -> None:
        super().__init__()
        self.sources = tuple(sources)
        self.register_buffer("mean", torch.full((len(self.sources),), 1 / len(self.sources)))

    def update(self, weights: Tensor, there: Tensor) -> None:
        """Update from weights `(B, K)` of a batch; `there` `(B, K)` is true where the sample has the source."""
        if not self.training:
            return
        count = there.sum(0)
        wide = weights.detach().to(torch.promote_types(weights.dtype, torch.float32))
        mean = (wide * there).sum(0) / count.clamp(min=1)
        self.mean.copy_(torch.where(count > 0, mean, self.mean))

    def mean_weights(self) -> dict[str, Tensor]:
        """Mean weight of each source, a scalar; a copy, which later updates do not change."""
        return dict(zip(self.sources, self.mean.clone(), strict=True))


def presence_matrix(sources: Iterable[str], presence: Presence | None, like: Tensor) -> Tensor:
    """Stack presence masks to `(B, K)` in order of the sources; all true if None, on the device of `like`."""
    names = list(sources)
    if presence is None:
        return torch.ones(like.shape[0], len(names), dtype=torch.bool, device=like.device)
    return torch.stack([presence[source] for source in names], dim=1)
