"""Gates against the equations of the gated multimodal unit, written out."""

import pytest
import torch

from fusionlit.functional import gated_terms, gates

LOGITS = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
THERE = torch.tensor([[True, False, True], [False, False, False]])


def test_gates_are_a_sigmoid():
    expected = 1 / (1 + (-LOGITS).exp())
    torch.testing.assert_close(gates(LOGITS), expected)
    torch.testing.assert_close(gates(LOGITS, torch.ones(2, 3, dtype=torch.bool)), expected)


def test_gates_of_what_is_there_keep_their_sum_and_their_ratio():
    z, all_of_them = gates(LOGITS, THERE)[0], gates(LOGITS)[0]
    torch.testing.assert_close(z.sum(0), all_of_them.sum(0))
    torch.testing.assert_close(z[0] / z[2], all_of_them[0] / all_of_them[2])
    assert not z[1].any()


def test_a_sample_without_sources_gets_zeros_and_a_finite_gradient():
    assert not gates(LOGITS, THERE)[1].any()
    assert torch.autograd.gradcheck(lambda x: gates(x, THERE), LOGITS.clone().requires_grad_())


@pytest.mark.parametrize("logit", [-6.0, -12.0, -45.0, -95.0])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_gate_that_is_nearly_closed_passes_all_if_it_is_alone(dtype, logit):
    closed = torch.tensor([[logit, -logit]], dtype=dtype, requires_grad=True)
    z = gates(closed, torch.tensor([[True, False]]))
    assert z.tolist() == [[pytest.approx(1.0, rel=1e-6), 0.0]]
    z.sum().backward()
    assert closed.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_gates_are_renormalised_in_float32(dtype):
    logits = LOGITS.to(dtype)
    exact = gates(logits.double(), THERE)
    assert ((gates(logits, THERE).double() - exact).abs() <= 0.51 * torch.finfo(dtype).eps * exact).all()


def test_gated_terms_are_gate_times_tanh():
    activations = LOGITS.flip(0)
    z = gates(LOGITS)
    e = (2 * activations).exp()
    torch.testing.assert_close(gated_terms(activations, z), z * (e - 1) / (e + 1))
