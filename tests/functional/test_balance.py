"""The formulas of modality balance, against closed forms and other libraries."""

import math

import pytest
import torch
from scipy.optimize import minimize_scalar
from torch.testing import assert_close

from fusionlit.functional import (
    blending_weights,
    discrepancy_ratios,
    enhanced_gradient,
    mask_probabilities,
    min_norm_weight,
    ogm_coefficients,
    pareto_gradient,
    score_of_mean,
    truth_scores,
)


def test_scores_are_the_likelihood_of_the_truth():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    label = torch.tensor([0, 2, 1, 1, 0])
    expected = torch.distributions.Categorical(logits=logits).log_prob(label).exp()
    assert_close(truth_scores(logits, label, "multiclass"), expected)
    marks = torch.tensor([[0, 1, 1], [1, 1, 0], [0, 0, 0], [1, 0, 1], [1, 1, 1]])
    each = torch.distributions.Bernoulli(logits=logits).log_prob(marks.double()).exp()
    assert_close(truth_scores(logits, marks, "multilabel"), each.mean(1))
    assert_close(truth_scores(logits[:, :1], marks[:, 0], "binary"), each[:, 0])


def test_scores_of_regression_are_reciprocal_errors():
    errors = truth_scores(torch.tensor([[1.0, 3.0], [0.0, 0.0]]), torch.zeros(2, 2), "regression")
    assert errors.tolist() == [5.0, 0.0]
    assert score_of_mean(errors.mean(), "regression").item() == pytest.approx(1 / 2.5)
    assert score_of_mean(errors.mean(), "binary").item() == 2.5
    # In other units all errors grow alike, and the ratio of scores is the same.
    scores = [score_of_mean(scale**2 * torch.tensor([1.0, 4.0]), "regression") for scale in (1.0, 1000.0)]
    known = torch.tensor([True, True])
    assert_close(discrepancy_ratios(scores[0], known), discrepancy_ratios(scores[1], known))
    assert discrepancy_ratios(scores[0], known).tolist() == [4.0, 0.25]


def test_ratios_leave_out_what_is_not_known():
    scores = torch.tensor([0.8, 0.2, 0.4, float("nan")])
    ratios = discrepancy_ratios(scores, torch.tensor([True, True, True, False]))
    assert_close(ratios, torch.tensor([0.8 / 0.3, 0.2 / 0.6, 0.4 / 0.5, 1.0]))
    assert discrepancy_ratios(scores, torch.tensor([True, False, False, False])).tolist() == [1.0] * 4


def test_only_what_is_ahead_is_slowed_down():
    coefficients = ogm_coefficients(torch.tensor([3.0, 1.0, 1 / 3]), alpha=0.4)
    assert coefficients.tolist() == pytest.approx([1 - math.tanh(1.2), 1.0, 1.0])


def test_noise_has_the_deviation_of_the_gradient():
    torch.manual_seed(0)
    gradient = torch.randn(400, 500, dtype=torch.float64) * 3 + 1
    noise = enhanced_gradient(gradient, torch.tensor(0.25)) - 0.25 * gradient
    assert noise.std().item() == pytest.approx(gradient.std().item(), rel=0.01)
    assert noise.mean().abs().item() < 0.03
    assert enhanced_gradient(torch.tensor([2.0]), torch.tensor(0.25)).tolist() == [0.5]
    assert enhanced_gradient(gradient.to(torch.bfloat16), torch.tensor(0.25)).dtype == torch.bfloat16


@pytest.mark.parametrize("seed", range(4))
def test_min_norm_is_what_an_optimizer_finds(seed):
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.randn(2, 4, generator=generator, dtype=torch.float64)
    b = b * (1, 10, 0.1, -1)[seed] + (a if seed == 2 else 0)

    def norm(weight):
        return (weight * a + (1 - weight) * b).norm().item()

    expected = minimize_scalar(norm, bounds=(0, 1), method="bounded", options={"xatol": 1e-10}).x
    assert min_norm_weight(a @ a, b @ b, a @ b).item() == pytest.approx(expected, abs=1e-6)


def test_min_norm_of_equal_vectors_is_their_mean():
    one = torch.tensor(1.0)
    assert min_norm_weight(one, one, one).item() == 0.5


def split(vector):
    """As the gradients of two parameters of other shapes."""
    return [vector[:4].reshape(2, 2), vector[4:]]


@pytest.mark.parametrize("conflicting", [False, True])
def test_pareto_gradient_over_all_parameters_of_an_encoder(conflicting):
    generator = torch.Generator().manual_seed(3)
    a, b = torch.randn(2, 7, generator=generator, dtype=torch.float64)
    b = b - a * (a @ b) / (a @ a) + a * (-0.5 if conflicting else 0.5)
    combined, weight, conflict = pareto_gradient(split(a), split(b), gamma=1.5)
    found = torch.cat([part.flatten() for part in combined])
    assert conflict.item() is conflicting
    if not conflicting:
        assert_close(found, 1.5 * (a + b))
        assert weight.item() == 0.5
        return
    w = ((b @ b - a @ b) / (a - b).square().sum()).item()
    assert weight.item() == pytest.approx(w)
    assert_close(found / found.norm(), (w * a + (1 - w) * b) / (w * a + (1 - w) * b).norm())
    assert found.norm().item() == pytest.approx(1.5 * max((a + b).norm(), (2 * (w * a + (1 - w) * b)).norm()))
    assert found @ a > 0  # a step down both losses
    assert found @ b > 0
    assert a @ b < 0


def test_opposite_gradients_cancel():
    combined, _, conflict = pareto_gradient([torch.ones(3)], [-torch.ones(3)], gamma=1.5)
    assert conflict
    assert combined[0].tolist() == [0.0] * 3


def test_half_precision_does_not_overflow():
    large = torch.full((100,), 3e4, dtype=torch.float16)
    combined, _, _ = pareto_gradient([large / 4], [large / 4], gamma=1.0)
    assert_close(combined[0].float(), torch.full((100,), 1.5e4))


def test_masks_grow_with_the_lead_and_with_time():
    ratios = torch.tensor([2.0, 1.0, 0.5])
    late = mask_probabilities(ratios, alpha=0.7, maximum=0.4, progress=3.0).tolist()
    assert late == pytest.approx([0.4 * math.tanh(0.7), 0.0, 0.0])
    early = mask_probabilities(ratios, alpha=0.7, maximum=0.4, progress=1 / 3).tolist()
    assert early == pytest.approx([value / 2 for value in late])  # sin(30 degrees)


def test_blending_on_made_up_curves():
    """Losses of an epoch 0 and an epoch 10, of which the weights are worked out by hand."""
    train = torch.tensor([[2.0, 2.0, 2.0, 2.0], [1.0, 0.5, 1.9, 1.0]], dtype=torch.float64)
    val = torch.tensor([[2.1, 2.0, 2.0, 2.0], [1.3, 1.5, 2.4, 1.2]], dtype=torch.float64)
    # G: 0.8, 0.5, -0.4 (got worse), 0.8; O: 0.3 - 0.1 = 0.2, 1.0 - 0 = 1.0, 0.5, 0.2.
    ratio = torch.tensor([0.8 / 0.04, 0.5 / 1.0, 0.0, 0.8 / 0.04], dtype=torch.float64)
    assert_close(blending_weights(train[0], val[0], train[1], val[1]), ratio / ratio.sum())


def test_blending_where_nothing_generalised_or_overfitted():
    one, two = torch.ones(2), torch.full((2,), 2.0)
    assert blending_weights(one, one, one, two).tolist() == [0.5, 0.5]
    assert blending_weights(two, two, one, one).tolist() == [0.5, 0.5]  # no gap grew: eps
