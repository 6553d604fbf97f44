"""Tokens of vectors, sequences and maps."""

import pytest
import torch

from fusionlit.fusion.tokens import Tokens, mean_of_present


@pytest.mark.parametrize("shape", [(3,), (3, 5), (3, 2, 4)])
def test_every_position_becomes_a_token(shape):
    tokens = Tokens(shape, width=6).double()
    torch.nn.init.normal_(tokens.linear.bias)
    x = torch.randn(2, *shape, dtype=torch.float64)
    columns = x.reshape(2, 3, -1)
    expected = torch.stack([tokens.linear(columns[..., n]) for n in range(columns.shape[-1])], dim=1)
    if len(shape) > 1:
        assert 0.005 < tokens.positions.std() < 0.05
        expected = expected + tokens.positions
    torch.testing.assert_close(tokens(x), expected)


def test_mean_of_what_is_there():
    parts = [torch.full((3, 2), value, dtype=torch.float64) for value in (1.0, 2.0, 7.0)]
    there = torch.tensor([[True, True, True], [False, True, True], [False, False, False]])
    expected = torch.tensor([[10 / 3] * 2, [4.5] * 2, [0.0] * 2], dtype=torch.float64)
    torch.testing.assert_close(mean_of_present(parts, there), expected, rtol=0, atol=1e-15)
