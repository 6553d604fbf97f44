"""The transformer block against torch's own."""

import pytest
import torch

from fusionlit.errors import ConfigError
from fusionlit.fusion.transformer import TransformerBlock


def test_self_attention_is_torchs_encoder_layer(torch_block):
    block = TransformerBlock(width=8, heads=2).double()
    x = torch.randn(3, 5, 8, dtype=torch.float64)
    mask = torch.tensor([[True] * 5, [True, False, True, False, False], [True] + [False] * 4])
    reference = torch_block(block)
    out, weights = block(x, x, mask)
    torch.testing.assert_close(out, reference(x, src_key_padding_mask=~mask), rtol=0, atol=1e-12)
    normed = reference.norm1(x)
    _, expected = reference.self_attn(normed, normed, normed, key_padding_mask=~mask, average_attn_weights=False)
    torch.testing.assert_close(weights, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("width", "heads"), [(10, 4), (8, 0), (0, 1)])
def test_heads_must_divide_the_width(width, heads):
    with pytest.raises(ConfigError, match=f"`heads` to divide `width`, .* but got width={width} and heads={heads}"):
        TransformerBlock(width, heads)


@pytest.mark.parametrize("silent", ["out", "mlp.3"])
def test_dropout_scales_what_is_added(silent):
    """Of two branches the other adds, and dropout keeps entries of it scaled by 1 / (1 - p)."""
    block = TransformerBlock(width=8, heads=2, dropout=0.75).double()
    torch.nn.init.zeros_(block.get_submodule(silent).weight)
    x = torch.randn(3, 5, 8, dtype=torch.float64)
    added = block.eval()(x, x)[0] - x
    ratio = (block.train()(x, x)[0] - x) / added
    assert set(ratio.round(decimals=6).abs().flatten().tolist()) == {0.0, 4.0}


@pytest.mark.parametrize("dropout", [-0.1, 1.0])
def test_dropout_is_a_probability(dropout):
    with pytest.raises(ConfigError, match=rf"`dropout` to be in \[0, 1\), but got {dropout}"):
        TransformerBlock(width=8, heads=2, dropout=dropout)
