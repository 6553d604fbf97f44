"""Attention that returns its weights."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fusionlit.functional.products import wide_matmul


def attention(query: Tensor, key: Tensor, value: Tensor, key_mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Scaled dot-product attention and its weights.

    `weights = softmax(query key^T / sqrt(D))` over the present keys, `output = weights value`. Missing keys get weight
    zero; if no key is present, weights and output are zeros, with a finite gradient. The weights are computed in at
    least float32, even under autocast; the output has the dtype of `value`.

    Shapes: `query` `(B, H, N, D)`, `key` `(B, H, M, D)`, `value` `(B, H, M, E)`, `key_mask` `(B, M)` bool, true where
    the key is present; `output` `(B, H, N, E)`, `weights` `(B, H, N, M)`. All values must be finite, including masked
    ones.

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
        # The lowest finite number, since a softmax over only -inf is NaN. The product sets those rows to zero.
        weights = scores.masked_fill(~there, torch.finfo(scores.dtype).min).softmax(-1) * there
    return weights.to(value.dtype) @ value, weights


def attention_mass(weights: Tensor, sizes: Sequence[int]) -> Tensor:
    """Attention that each group of keys receives, averaged over heads and queries.

    Sum of the weights over the keys of a group, mean over heads and queries.

    Shapes: `weights` `(B, H, N, M)`, `sizes` K numbers of keys that sum to M, result `(B, K)`.

    >>> attention_mass(torch.tensor([[[[0.5, 0.25, 0.25]]]]), [1, 2])
    tensor([[0.5000, 0.5000]])
    """
    groups = torch.split_with_sizes(weights, list(sizes), dim=-1)
    return torch.stack([group.sum(-1).mean((1, 2)) for group in groups], dim=1)


def attention_shares(mass: Tensor, presence: Tensor) -> Tensor:
    """Share of each present source in the attention that the present sources receive.

    `m_k a_k / sum_j m_j a_j`; equal shares if none of the present sources receives attention, as for a source on its
    own. A sample without any source gets zeros.

    Shapes: `mass` `(B, K)` non-negative, `presence` `(B, K)` bool, result `(B, K)`.

    >>> attention_shares(torch.tensor([[0.6, 0.2, 0.7]]), torch.tensor([[True, True, False]]))
    tensor([[0.7500, 0.2500, 0.0000]])
    """
    present = presence.to(mass.dtype)
    mass = mass * present
    mass = torch.where(mass.sum(1, keepdim=True) > 0, mass, present)
    return mass / mass.sum(1, keepdim=True).clamp(min=torch.finfo(mass.dtype).tiny)
