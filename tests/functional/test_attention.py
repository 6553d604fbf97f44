"""Attention against torch's own."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from fusionlit.functional import attention, attention_mass, attention_shares


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


QKV = (2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 6)
SOME = torch.tensor([[True, False, True, True, False, True, False], [False] * 6 + [True]])


@pytest.mark.parametrize("mask", [None, SOME])
def test_attention_is_torchs(mask):
    q, k, v = (draw(*shape, seed=i) for i, shape in enumerate(QKV))
    out, weights = attention(q, k, v, mask)
    expected = scaled_dot_product_attention(q, k, v, None if mask is None else mask[:, None, None])
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3, 5, dtype=torch.float64))
    identity = torch.eye(7, dtype=torch.float64).expand(2, 3, 7, 7)
    seen = scaled_dot_product_attention(q, k, identity, None if mask is None else mask[:, None, None])
    torch.testing.assert_close(weights, seen, rtol=0, atol=1e-12)
    assert mask is None or not weights[~mask[:, None, None].expand_as(weights)].any()


def test_gradients_with_a_mask_and_with_no_key_at_all():
    nobody_in_the_second = SOME & torch.tensor([[True], [False]])
    inputs = [draw(*shape, seed=i).requires_grad_() for i, shape in enumerate(QKV)]
    assert torch.autograd.gradcheck(lambda q, k, v: attention(q, k, v, nobody_in_the_second), inputs)
    out, weights = attention(*inputs, nobody_in_the_second)
    assert not out[1].any()
    assert not weights[1].any()


def test_no_keys_give_zeros():
    out, weights = attention(draw(2, 1, 3, 4), draw(2, 1, 0, 4), draw(2, 1, 0, 4))
    assert out.shape == (2, 1, 3, 4)
    assert weights.shape == (2, 1, 3, 0)
    assert not out.any()


def test_large_scores_stay_finite_in_half_precision():
    q = torch.full((1, 1, 1, 64), 300.0, dtype=torch.float16)  # the score, 300^2 * 8, is beyond float16
    k = torch.cat([q, q / 2], dim=2)
    out, weights = attention(q, k, k)
    assert weights.dtype == torch.float32
    assert out.dtype == torch.float16
    torch.testing.assert_close(weights, torch.tensor([[[[1.0, 0.0]]]]))
    torch.testing.assert_close(out, q)


def test_autocast_does_not_round_the_scores():
    q, k, v = (draw(*shape, seed=i, dtype=torch.float32) for i, shape in enumerate(QKV))
    _, expected = attention(q, k, v)
    with torch.autocast("cpu", torch.bfloat16):
        _, weights = attention(q, k, v)
    torch.testing.assert_close(weights, expected, rtol=1e-6, atol=1e-7)


def test_mass_of_groups_of_keys():
    weights = draw(2, 3, 5, 7).softmax(-1)
    by_hand = torch.stack([weights[b, :, :, a:z].sum() / 15 for b in range(2) for a, z in [(0, 2), (2, 2), (2, 7)]])
    torch.testing.assert_close(attention_mass(weights, [2, 0, 5]), by_hand.reshape(2, 3))


def test_shares_add_up_to_one_over_what_is_there():
    mass = torch.tensor([[0.2, 0.3, 0.9], [0.0, 0.0, 0.7], [0.0, 0.4, 0.4], [0.1, 0.1, 0.1]])
    there = torch.tensor([[True, True, False], [False, True, False], [True, True, True], [False, False, False]])
    expected = torch.tensor([[0.4, 0.6, 0.0], [0.0, 1.0, 0.0], [0.0, 0.5, 0.5], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(attention_shares(mass, there), expected)
