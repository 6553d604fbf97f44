"""Modality balance: scores, gradient modulation, Pareto gradients, masks, and loss blending."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from fusionlit.types import TargetKind

TINY = 1e-12
"""Lower bound of denominators."""


def truth_scores(prediction: Tensor, target: Tensor, kind: TargetKind) -> Tensor:
    """Score of each sample's prediction, in at least float32.

    Probability of the true class (`multiclass`, `binary`); mean probability of the labels' true values (`multilabel`);
    squared error, mean over the outputs (`regression`), whose mean `score_of_mean` turns into a score.

    Shapes: `prediction` `(B, size)` logits or values, `target` `(B,)` or `(B, size)`, result `(B,)`.

    >>> truth_scores(torch.zeros(1, 4), torch.tensor([2]), "multiclass")
    tensor([0.2500])
    """
    wide = prediction.to(torch.promote_types(prediction.dtype, torch.float32))
    if kind == "multiclass":
        return wide.softmax(1).gather(1, target.long()[:, None])[:, 0]
    if kind == "regression":
        return (wide - target).square().mean(1)
    truth = target.reshape(wide.shape)
    return torch.where(truth > 0, wide, -wide).sigmoid().mean(1)


def score_of_mean(mean: Tensor, kind: TargetKind) -> Tensor:
    """Score from a mean of `truth_scores`: the mean itself, or its reciprocal for `regression`.

    A larger score is always better, and the ratio of two scores is dimensionless.

    >>> score_of_mean(torch.tensor([0.5, 2.0]), "regression")
    tensor([2.0000, 0.5000])
    """
    return 1 / mean.clamp(min=TINY) if kind == "regression" else mean


def discrepancy_ratios(scores: Tensor, known: Tensor) -> Tensor:
    """Ratio of each modality's score to the mean score of the others: `rho_k = s_k / mean_{j != k} s_j`.

    With two modalities this is the ratio of Peng et al. 2022 (arXiv 2203.15332), who sum scores over one batch. A
    modality without a known score is left out; its ratio is 1, as is that of the only known modality.

    Shapes: `scores` `(K,)`, `known` `(K,)` bool, result `(K,)`.

    >>> discrepancy_ratios(torch.tensor([0.9, 0.3, 0.3]), torch.tensor([True, True, True]))
    tensor([3.0000, 0.5000, 0.5000])
    """
    counted = torch.where(known, scores, 0.0)
    others = known.sum() - known.to(scores.dtype)
    mean = (counted.sum() - counted) / others.clamp(min=1)
    return torch.where(known & (others > 0), scores / mean.clamp(min=TINY), 1.0)


def ogm_coefficients(ratios: Tensor, alpha: float) -> Tensor:
    """Factor of each modality's gradients: `1 - tanh(alpha rho_k)` where `rho_k > 1`, else 1.

    Shapes: `ratios` `(K,)`, result the same.

    Source: Peng et al., "Balanced multimodal learning via on-the-fly gradient modulation", 2022 (arXiv 2203.15332),
    equation 10.

    >>> ogm_coefficients(torch.tensor([2.0, 0.5]), alpha=0.5)
    tensor([0.2384, 1.0000])
    """
    return torch.where(ratios > 1, 1 - torch.tanh(alpha * ratios), 1.0)


def enhanced_gradient(gradient: Tensor, coefficient: Tensor) -> Tensor:
    """Modulated gradient with the noise of GE (generalisation enhancement): `k g + e`, `e ~ N(0, std(g)^2)` per entry.

    The standard deviation of the entries of `g` approximates the covariance of stochastic gradients, as in the authors'
    code. A gradient with a single entry gets no noise.

    Shapes: `gradient` any, `coefficient` a scalar, result as `gradient`.

    Source: Peng et al. 2022 (arXiv 2203.15332).
    """
    modulated = gradient * coefficient
    return modulated + gradient.std() * torch.randn_like(gradient) if gradient.numel() > 1 else modulated


def min_norm_weight(aa: Tensor, bb: Tensor, ab: Tensor) -> Tensor:
    """Weight w of the first of two vectors in their convex combination of minimum norm, `min |w a + (1 - w) b|`.

    `w = (b.b - a.b) / |a - b|^2`, clipped to [0, 1], from the inner products `a.a`, `b.b` and `a.b`; 1/2 for a = b.

    Source: Sener and Koltun, "Multi-task learning as multi-objective optimization", 2018 (arXiv 1810.04650).

    >>> min_norm_weight(torch.tensor(1.0), torch.tensor(9.0), torch.tensor(0.0))
    tensor(0.9000)
    """
    apart = aa + bb - 2 * ab
    weight = ((bb - ab) / apart.where(apart > 0, 1.0)).clamp(0, 1)
    return weight.where(apart > 0, 0.5)


def pareto_gradient(
    multimodal: list[Tensor], unimodal: list[Tensor], gamma: float
) -> tuple[list[Tensor], Tensor, Tensor]:
    """Gradient of an encoder that improves both the multimodal and the unimodal loss.

    `h = 2 w g_m + 2 (1 - w) g_u`. If the two conflict, `g_m.g_u < 0`, w is that of `min_norm_weight`, and h is rescaled
    to length `|g_m + g_u|` if it is shorter; otherwise w = 1/2, so that `h = g_m + g_u`. The result is `gamma h`. Norms
    and products are over all parameters of the encoder; the authors' code rescales each parameter separately.

    Shapes: one tensor per parameter in both lists, result the same.

    Returns:
        The gradients, w (scalar), and whether the two conflict (scalar bool).

    Source: Wei and Hu, "MMPareto: boosting multimodal learning with innocent unimodal assistance", 2024 (arXiv
    2405.17730).
    """
    mm, uu, mu = _dot(multimodal, multimodal), _dot(unimodal, unimodal), _dot(multimodal, unimodal)
    conflict = mu < 0
    weight = torch.where(conflict, min_norm_weight(mm, uu, mu), 0.5)
    a, b = 2 * weight, 2 * (1 - weight)
    length = (a.square() * mm + b.square() * uu + 2 * a * b * mu).clamp(min=0).sqrt()
    whole = (mm + uu + 2 * mu).clamp(min=0).sqrt()
    scale = gamma * (whole / length.where(length > 0, 1.0)).clamp(min=1)
    a, b = a * scale, b * scale
    return [a * m + b * u for m, u in zip(multimodal, unimodal, strict=True)], weight, conflict


def mask_probabilities(ratios: Tensor, alpha: float, maximum: float, progress: float) -> Tensor:
    """Probability of masking each modality of a sample: `maximum sin(pi progress / 2) tanh(alpha max(rho_k - 1, 0))`.

    Zero for a modality that is no better than the average of the others. The sine raises the rate from zero (`progress`
    0) to its full value (`progress` 1), as in AMCo.

    Shapes: `ratios` `(K,)` of `discrepancy_ratios`, result the same.

    Source: Zhou et al., "Adaptive mask co-optimization for modal dependence in multimodal learning", 2023 (ICASSP). The
    paper masks features of a modality whose share of the prediction is above a threshold; the tanh is ours.

    >>> mask_probabilities(torch.tensor([3.0, 0.5]), alpha=0.5, maximum=0.5, progress=1.0)
    tensor([0.3808, 0.0000])
    """
    return maximum * math.sin(math.pi / 2 * min(progress, 1.0)) * torch.tanh(alpha * F.relu(ratios - 1))


def blending_weights(train_before: Tensor, val_before: Tensor, train: Tensor, val: Tensor, eps: float = 1e-6) -> Tensor:
    """Weights of losses by their ratio of generalisation to overfitting: `w_i = (G_i / O_i^2) / sum_j G_j / O_j^2`.

    `G_i = val_before_i - val_i` is the generalisation since the last measurement, and
    `O_i = (val_i - train_i) - (val_before_i - train_before_i)` the overfitting. A loss that got worse, `G_i < 0`, gets
    weight 0 (the paper leaves this open); `O_i^2` is at least `eps`. All weights are equal if no loss generalised.

    Shapes: all `(N,)`, one entry per loss; result `(N,)`, sum 1.

    Source: Wang et al., "What makes training multi-modal classification networks hard?", 2020 (arXiv 1905.12681),
    proposition 1.

    >>> before, val, train = torch.tensor([1.0, 1.0]), torch.tensor([0.5, 0.5]), torch.tensor([0.4, 0.3])
    >>> blending_weights(before, before, train, val)
    tensor([0.8000, 0.2000])
    """
    generalised = F.relu(val_before - val)
    overfitted = (val - train) - (val_before - train_before)
    ratio = generalised / overfitted.square().clamp(min=eps)
    total = ratio.sum()
    return torch.where(total > 0, ratio / total.where(total > 0, 1.0), 1 / len(ratio))


def _dot(a: list[Tensor], b: list[Tensor]) -> Tensor:
    # At least float32: squares of scaled half-precision gradients would overflow.
    wide = [torch.promote_types(x.dtype, torch.float32) for x in a]
    return torch.stack([(x.to(t) * y.to(t)).sum() for x, y, t in zip(a, b, wide, strict=True)]).sum()
