"""Weighted sums and mixtures: scale, presence, log-odds."""

import torch
from torch import Tensor, nn


def unit_rms(x: Tensor, eps: float = 1e-12) -> Tensor:
    """Divide each sample by its root mean square over all its features.

    `x / sqrt(mean(x^2) + eps)`, computed in at least float32. Removes the scaling symmetry (a, W) -> (s a, W / s)
    between a fusion weight and the layer before it; a source of zeros stays zero.

    Shapes: `x` `(B, ...)`, result the same.

    >>> unit_rms(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.8485, 1.1314],
            [0.0000, 0.0000]])
    """
    return (x * inverse_rms(x, eps)).to(x.dtype)


def inverse_rms(x: Tensor, eps: float = 1e-12) -> Tensor:
    """`1 / sqrt(mean(x^2) + eps)` of each sample over all its features, in at least float32.

    Shapes: `x` `(B, ...)`, result `(B, 1, ...)`.
    """
    return torch.rsqrt(mean_square(x, keepdim=True) + eps)


def mean_square(x: Tensor, *, keepdim: bool = False) -> Tensor:
    """Mean of the squares of each sample over all its features, in at least float32: `(B, ...)` to `(B,)`."""
    wide = x if x.dtype == torch.float64 else x.float()
    return wide.square().mean(dim=tuple(range(1, x.ndim)), keepdim=keepdim)


def per_sample(values: Tensor, like: Tensor) -> Tensor:
    """Reshape `(B,)` to `(B, 1, ...)`, so that it broadcasts against `like` `(B, ...)`."""
    return values.reshape(-1, *(1,) * (like.ndim - 1))


def renormalize(weights: Tensor, presence: Tensor, *, positive: bool) -> Tensor:
    """Weights of the present sources, rescaled to make up for missing ones.

    Positive weights keep their sum: `w_k m_k sum_j w_j / sum_j w_j m_j`. Signed weights, whose sum may be zero, are
    scaled by the number of present sources: `w_k m_k K / sum_j m_j`. A sample without any source gets zeros.

    Shapes: `weights` `(K,)`, `presence` `(B, K)` bool, result `(B, K)`.

    >>> renormalize(torch.tensor([0.5, 0.3, 0.2]), torch.tensor([[True, False, True]]), positive=True)
    tensor([[0.7143, 0.0000, 0.2857]])
    """
    present = presence.to(weights.dtype)
    measure = weights.detach().new_ones(weights.shape) if not positive else weights
    share = (present * measure).sum(-1)  # not `@`, which autocast would round
    scale = measure.sum() / share.where(share != 0, torch.ones_like(share))
    return weights * present * scale[:, None]


def mixture_log_odds(logits: Tensor, log_weights: Tensor, *, exclusive: bool) -> Tensor:
    """Logits of a weighted mixture of predicted probabilities; a loss on them is the mixture's likelihood.

    Exclusive classes: `log sum_k w_k softmax(x_k)`, whose softmax is the mixture. Independent labels:
    `log sum_k w_k sigmoid(x_k) - log sum_k w_k sigmoid(-x_k)`, whose sigmoid is the mixture.

    Shapes: `logits` `(K, B, O)`, `log_weights` broadcastable to it, result `(B, O)`.
    """
    if exclusive:
        return torch.logsumexp(log_weights + logits.log_softmax(-1), dim=0)
    positive = torch.logsumexp(log_weights + nn.functional.logsigmoid(logits), dim=0)
    negative = torch.logsumexp(log_weights + nn.functional.logsigmoid(-logits), dim=0)
    return positive - negative
