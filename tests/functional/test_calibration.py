"""The calibration error by hand, and the temperature against scipy's minimiser and a known truth."""

import math

import pytest
import torch
from scipy.optimize import minimize_scalar
from torch.nn.functional import cross_entropy

from fusionlit.functional import calibration_error, fit_temperature


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def labels(logits, seed=1):
    return logits.softmax(1).multinomial(1, generator=torch.Generator().manual_seed(seed))[:, 0]


@pytest.mark.parametrize("scale", [0.1, 1.0, 20.0])
@pytest.mark.parametrize("shift", [0.0, 500.0])
def test_scipy_finds_the_same_minimum(scale, shift):
    logits = 2 * draw(300, 4)
    target = labels(logits)
    given = logits * scale + shift
    found = minimize_scalar(
        lambda log_t: cross_entropy(given / math.exp(log_t), target).item(),
        bounds=(math.log(0.01), math.log(100)),
        method="bounded",
        options={"xatol": 1e-9},
    )
    assert fit_temperature(given, target) == pytest.approx(math.exp(found.x), rel=1e-4)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_a_planted_temperature_is_found(temperature):
    logits = 2 * draw(200_000, 3)
    found = fit_temperature((logits * temperature).float(), labels(logits))
    assert found == pytest.approx(temperature, rel=0.02)


def test_two_classes_in_closed_form():
    """With one margin m and a share p of hits, `sigmoid(m / T) = p`."""
    logits = torch.tensor([[5.0, 0.0]] * 10)
    target = torch.tensor([0] * 9 + [1])
    assert fit_temperature(logits, target) == pytest.approx(5 / math.log(9), rel=1e-9)


@pytest.mark.parametrize("target", [[0, 0, 0], [1, 1, 1]])
def test_always_right_and_always_wrong_have_no_temperature(target):
    assert fit_temperature(torch.tensor([[2.0, 0.0], [1.0, 0.0], [3.0, -1.0]]), torch.tensor(target)) is None


def test_logits_that_say_nothing_have_no_temperature():
    assert fit_temperature(torch.zeros(4, 3), torch.tensor([0, 1, 2, 0])) is None


def test_calibration_error_is_the_weighted_gap():
    error = calibration_error(torch.tensor([0.5, 2.7]), torch.tensor([1, 2]), torch.tensor([1, 3]))
    assert error.item() == pytest.approx(1 / 4 * abs(1 - 0.5) + 3 / 4 * abs(2 / 3 - 0.9))
    assert calibration_error(torch.zeros(3), torch.zeros(3), torch.zeros(3)).isnan()
