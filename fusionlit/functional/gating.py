"""Gates, which scale each feature of each source."""

import torch
from torch import Tensor, nn


def gates(logits: Tensor, presence: Tensor | None = None) -> Tensor:
    """Gates of sources, some of which may be missing.

    `z = sigmoid(logits)`. The gate of a missing source is zero and the others are renormalised per feature, so that the
    sum of the gates is unchanged: `z_k m_k sum_j z_j / sum_j z_j m_j`. A sample without any source gets zeros.

    Shapes: `logits` `(B, K, ...)`, `presence` `(B, K)` bool, result as `logits`.

    >>> gates(torch.tensor([[0.0, 0.0, 0.0]]), torch.tensor([[True, False, True]]))
    tensor([[0.7500, 0.0000, 0.7500]])
    """
    if presence is None:
        return logits.sigmoid()
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    there = presence.reshape(*presence.shape, *(1,) * (logits.ndim - 2))
    # z_k m_k / sum_j z_j m_j as a softmax of log z: a quotient of nearly closed gates would underflow.
    shares = nn.functional.logsigmoid(wide).masked_fill(~there, torch.finfo(wide.dtype).min).softmax(1) * there
    return (shares * wide.sigmoid().sum(1, keepdim=True)).to(logits.dtype)


def gated_terms(activations: Tensor, gates: Tensor) -> Tensor:
    """Terms of the gated multimodal unit, whose sum over the sources is its output: `z_k * tanh(a_k)`.

    Shapes: `activations` and `gates` `(B, K, O, ...)`, result the same.

    Source: Arevalo et al., "Gated multimodal units for information fusion", 2017 (arXiv 1702.01992).

    >>> gated_terms(torch.tensor([[[9.0], [-9.0]]]), torch.tensor([[[0.75], [0.25]]])).sum(1)
    tensor([[0.5000]])
    """
    return gates * activations.tanh()
