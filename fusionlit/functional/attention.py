"""Attention that tells its weights."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fusionlit.functional.products import wide_matmul


def attention(query: Tensor, key: Tensor, value: Tensor, key_mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Scaled dot-product attention, and where it looks.

    `weights = softmax(query key^T / sqrt(D))` over the keys that are there, `output = weights value`. Keys that are not
    there get weight zero; where none is there, weights and output are zeros, with a finite gradient. The weights are
    computed in at least float32, under autocast too; the output has the dtype of `value`.

    Shapes: `query` `(B, H, N, D)`, `key` `(B, H, M, D)`, `value` `(B, H, M, E)`, `key_mask` `(B, M)` bool, true where
    the key is there; `output` `(B, H, N, E)`, `weights` `(B, H, N, M)`. All values must be finite, masked ones too.

    Source: Vaswani et al., "Attention is all you need", 2017 (arXiv 1706.03762), equation 1.

    >>> one, other = torch.tensor([[[[1.0]]]]), torch.tensor([[[[1.0], [3.0]]]])
    >>> attention(one, torch.zeros(1, 1, 2, 1), other)
    (tensor([[[[2.]]]]), tensor([[[[0.5000, 0.5000]]]]))
    """
    scores = wide_matmul(query, key.mT) * query.shape[-1] ** -0.5
    if key_mask is None:
        weights = scores.softmax(-1)
    else:
        there = key_mask[:, None, None, :]
        # The lowest finite number, not -inf: a softmax of -inf alone is NaN. The product makes those rows zero.
        weights = scores.masked_fill(~there, torch.finfo(scores.dtype).min).softmax(-1) * there
    return weights.to(value.dtype) @ value, weights


def attention_mass(weights: Tensor, sizes: Sequence[int]) -> Tensor:
    """How much attention each group of keys gets from the average query.

    Sum of the weights over the keys of the group, mean over heads and queries.

    Shapes: `weights` `(B, H, N, M)`, `sizes` K numbers of keys, which add up to M, result `(B, K)`.

    >>> attention_mass(torch.tensor([[[[0.5, 0.25, 0.25]]]]), [1, 2])
    tensor([[0.5000, 0.5000]])
    """
    groups = torch.split_with_sizes(weights, list(sizes), dim=-1)
    return torch.stack([group.sum(-1).mean((1, 2)) for group in groups], dim=1)


def attention_shares(mass: Tensor, presence: Tensor) -> Tensor:
    """Share of each source that is there in the attention that the sources get.

    `m_k a_k / sum_j m_j a_j`; the sources that are there share alike where nobody attends to any of them, as to a
    source that is alone. A sample without any source gets zeros.

    Shapes: `mass` `(B, K)` not negative, `presence` `(B, K)` bool, result `(B, K)`.

    >>> attention_shares(torch.tensor([[0.6, 0.2, 0.7]]), torch.tensor([[True, True, False]]))
    tensor([[0.7500, 0.2500, 0.0000]])
    """
    present = presence.to(mass.dtype)
    mass = mass * present
    mass = torch.where(mass.sum(1, keepdim=True) > 0, mass, present)
    return mass / mass.sum(1, keepdim=True).clamp(min=torch.finfo(mass.dtype).tiny)
