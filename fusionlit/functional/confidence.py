"""Confidence of several predictions, and their combination."""

import torch
from torch import Tensor


def two_classes(logit: Tensor) -> Tensor:
    """Turn one logit z into the symmetric logits of two classes, `(..., 1)` to `(..., 2)`: `(-z / 2, z / 2)`.

    >>> two_classes(torch.tensor([[3.0]]))
    tensor([[-1.5000,  1.5000]])
    """
    return torch.cat([-logit / 2, logit / 2], dim=-1)


def energy_log_weights(logits: Tensor, temperature: float = 1.0, presence: Tensor | None = None) -> Tensor:
    """Log-weights of the members from their energy scores: `log softmax_k(-E_k / T)`.

    `E_k = -T logsumexp_o(z_ko / T)` is low for samples that resemble a member's training data. The score of a missing
    member is the lowest finite number, so that its weight is zero and the gradient finite.

    Shapes: `logits` `(K, B, O)`, `presence` `(B, K)` bool, result `(B, K)`.

    Sources: Liu et al., "Energy-based out-of-distribution detection", 2020 (arXiv 2010.03759); Zhang et al., "Provable
    dynamic fusion for low-quality multimodal data", 2023 (arXiv 2306.02050).

    >>> energy_log_weights(torch.tensor([[[1.0, 1.0]], [[0.0, 0.0]]])).exp()  # e : 1
    tensor([[0.7311, 0.2689]])
    """
    score = (logits / temperature).logsumexp(-1).T
    if presence is not None:
        score = score.masked_fill(~presence, torch.finfo(score.dtype).min)
    return score.log_softmax(1)


def uncertainty(evidence: Tensor) -> Tensor:
    """Uncertainty mass of an opinion: `u = O / (O + sum_o e_o)`, `(..., O)` to `(...,)`.

    >>> uncertainty(torch.tensor([[0.0, 0.0], [4.0, 2.0]]))
    tensor([1.0000, 0.2500])
    """
    size = evidence.shape[-1]
    return size / (size + evidence.sum(-1))


def dempster_shafer(evidence: Tensor) -> Tensor:
    """Log of the Dirichlet parameters of several opinions combined by Dempster's rule.

    Evidence `e >= 0` is an opinion: belief `b_o = e_o / S` in each class and uncertainty `u = O / S`, with
    `S = O + sum_o e_o`. The reduced rule of TMC, `b_o ~ b1_o b2_o + b1_o u2 + b2_o u1` and `u ~ u1 u2`, multiplies
    `b_o + u`. So, for any number of opinions in any order,

    `alpha_o = 1 + e_o`, `1 + e_o / O = prod_k (1 + e_ko / O)`.

    An opinion without evidence changes nothing. The softmax of the result is the mean of the Dirichlet distribution,
    `alpha_o / sum_j alpha_j`. Computed in log space, so that many confident opinions do not overflow.

    Shapes: `evidence` `(K, ..., O)`, result `(..., O)`.

    Source: Han et al., "Trusted multi-view classification", 2021 (arXiv 2102.02051), definition 4.

    >>> dempster_shafer(torch.tensor([[2.0, 0.0], [2.0, 2.0]])).exp()  # 1 + 2 (2 * 2 - 1), 1 + 2 (1 * 2 - 1)
    tensor([7.0000, 3.0000])
    """
    size = evidence.shape[-1]
    growth = (evidence / size).log1p().sum(0)
    # log(1 + O (exp(growth) - 1)), which would overflow
    return growth + torch.log1p((size - 1) * -torch.expm1(-growth))
