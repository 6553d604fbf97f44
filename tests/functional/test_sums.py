"""Scale, presence and mixtures against closed forms and other libraries."""

import pytest
import torch

from fusionlit.functional import (
    mean_square,
    mixture_log_odds,
    renormalize,
    unit_rms,
)


def test_unit_rms_is_torchs_rms_norm_without_gain():
    x = torch.randn(3, 4, 5, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = torch.nn.functional.rms_norm(x, (4, 5, 6), eps=1e-8)
    torch.testing.assert_close(unit_rms(x), expected)
    torch.testing.assert_close(mean_square(unit_rms(x)), torch.ones(3, dtype=torch.float64), atol=1e-7, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_unit_rms_does_not_overflow_in_half_precision(dtype):
    x = torch.full((1, 8), 3e4, dtype=dtype)
    out = unit_rms(x)
    assert out.dtype == dtype
    torch.testing.assert_close(out, torch.ones(1, 8, dtype=dtype))


def test_unit_rms_of_zeros_has_a_finite_gradient():
    x = torch.zeros(2, 3, requires_grad=True)
    unit_rms(x).sum().backward()
    assert x.grad.isfinite().all()


def test_renormalised_weights_keep_their_sum():
    weights = torch.tensor([0.1, 0.2, 0.7])
    presence = torch.tensor([[True, True, True], [True, False, True], [False, True, False], [False, False, False]])
    out = renormalize(weights, presence, positive=True)
    torch.testing.assert_close(out.sum(1), torch.tensor([1.0, 1.0, 1.0, 0.0]))
    torch.testing.assert_close(out[1], torch.tensor([0.1, 0.0, 0.7]) / 0.8)
    assert not out[~presence].any()


def test_signed_weights_are_scaled_by_how_many_are_there():
    weights = torch.tensor([0.5, -0.5, 0.3])
    out = renormalize(weights, torch.tensor([[True, True, False]]), positive=False)
    torch.testing.assert_close(out, torch.tensor([[0.75, -0.75, 0.0]]))


@pytest.mark.parametrize("exclusive", [True, False])
def test_mixture_stays_finite_where_probabilities_underflow(exclusive):
    logits = torch.tensor([[[200.0, -200.0]], [[-200.0, 200.0]]], requires_grad=True)
    out = mixture_log_odds(logits, torch.tensor([0.5, 0.5]).log()[:, None, None], exclusive=exclusive)
    probability = out.softmax(-1) if exclusive else out.sigmoid()
    torch.testing.assert_close(probability, torch.tensor([[0.5, 0.5]]))
    out.sum().backward()
    assert logits.grad.isfinite().all()
