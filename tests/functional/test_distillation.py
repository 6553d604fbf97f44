"""Distances from a teacher, against torch's distributions."""

import pytest
import torch
from torch.distributions import Bernoulli, Categorical, kl_divergence
from torch.testing import assert_close

from fusionlit.functional import feature_distance, prediction_divergence

GENERATOR = torch.Generator().manual_seed(0)
STUDENT, TEACHER = torch.randn(2, 6, 3, generator=GENERATOR, dtype=torch.float64)
THERE = torch.tensor([True, False, True, True, False, True])


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_divergence_of_classes_and_labels(temperature):
    s, t = STUDENT / temperature, TEACHER / temperature
    classes = kl_divergence(Categorical(logits=t), Categorical(logits=s)) * temperature**2
    labels = kl_divergence(Bernoulli(logits=t), Bernoulli(logits=s)).sum(1) * temperature**2
    for kind, each in (("multiclass", classes), ("multilabel", labels)):
        assert_close(prediction_divergence(STUDENT, TEACHER, kind, temperature), each.mean())
        assert_close(prediction_divergence(STUDENT, TEACHER, kind, temperature, THERE), each[THERE].mean())


def test_divergence_of_regression_is_the_mean_square():
    expected = torch.nn.functional.mse_loss(STUDENT, TEACHER)
    assert_close(prediction_divergence(STUDENT, TEACHER, "regression", 3.0), expected)


def test_features_of_absent_samples_reach_nothing():
    student, teacher = STUDENT.clone().reshape(6, 3, 1), TEACHER.clone().reshape(6, 3, 1)
    student[~THERE] = torch.nan
    teacher[~THERE] = torch.nan
    student.requires_grad_()
    distance = feature_distance(student, teacher, THERE)
    assert_close(distance, (STUDENT - TEACHER)[THERE].square().mean())
    distance.backward()
    assert student.grad[~THERE].eq(0).all()
    assert student.grad[THERE].isfinite().all()
    assert feature_distance(student, teacher, torch.zeros(6, dtype=torch.bool)).item() == 0
