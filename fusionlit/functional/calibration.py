"""Calibration error of probabilities, and temperature scaling."""

import math

import torch
from torch import Tensor

LEAST, MOST = 0.01, 100.0
"""Search range of the temperature."""


def calibration_error(confidence: Tensor, hits: Tensor, count: Tensor) -> Tensor:
    """Expected calibration error of binned predictions: `sum_b n_b / n |mean hit_b - mean confidence_b|`, a scalar.

    NaN if there are no predictions.

    Shapes: sum of the `confidence`, number of `hits` and `count` of predictions in each bin, all `(bins,)`.

    Source: Naeini et al., "Obtaining well calibrated probabilities using Bayesian binning", 2015.

    >>> calibration_error(torch.tensor([0.8, 1.8]), torch.tensor([0, 2]), torch.tensor([2, 2]))
    tensor(0.2500)
    """
    return (hits - confidence).abs().sum() / count.sum()


def fit_temperature(logits: Tensor, target: Tensor) -> float | None:
    """Temperature T that minimises the mean cross-entropy of `logits / T`, or None if there is no minimum.

    With `b = 1 / T` the cross-entropy is convex, and its slope `mean(sum_k p_k z_k - z_y)`, with `p = softmax(b z)`,
    increases with b: its zero is found by bisection in float64. There is no minimum between 0.01 and 100 if every label
    has the largest logit (T goes to 0), or if the logits carry no information about the labels (T goes to infinity).

    Shapes: `logits` `(N, K)`, `target` `(N,)` labels from 0 to K - 1.

    Source: Guo et al., "On calibration of modern neural networks", 2017 (arXiv 1706.04599).

    >>> fit_temperature(torch.tensor([[2.0, 0.0]] * 4), torch.tensor([0, 0, 0, 1]))  # 2 / log 3, for p = 3 / 4
    1.8204784532536746
    """
    wide = logits.detach().to(torch.float64)
    wide = wide - wide.gather(1, target.long()[:, None])

    def slope(log_inverse: float) -> float:
        return ((wide * math.exp(log_inverse)).softmax(1) * wide).sum(1).mean().item()

    low, high = -math.log(MOST), -math.log(LEAST)
    if not slope(low) < 0 < slope(high):
        return None
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return math.exp(-(low + high) / 2)
