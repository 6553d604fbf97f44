"""Torch's own transformer layer with the parameters of ours."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from fusionlit.fusion.transformer import TransformerBlock


def _torch_block(block: TransformerBlock) -> nn.TransformerEncoderLayer:
    """Shake the block's parameters, so that none is trivial, and copy them."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
    width = block.query.in_features
    layer = nn.TransformerEncoderLayer(
        width, block.heads, 2 * width, dropout=0, activation="gelu", batch_first=True, norm_first=True
    ).to(block.query.weight.dtype)
    no_bias = torch.zeros_like(block.query.bias)
    state = {
        "self_attn.in_proj_weight": torch.cat([block.query.weight, block.key.weight, block.value.weight]),
        "self_attn.in_proj_bias": torch.cat([block.query.bias, no_bias, block.value.bias]),
    }
    pairs = {"self_attn.out_proj": block.out, "norm1": block.norm, "norm2": block.mlp[0]}
    pairs |= {"linear1": block.mlp[1], "linear2": block.mlp[3]}
    for name, module in pairs.items():
        state |= {f"{name}.weight": module.weight, f"{name}.bias": module.bias}
    layer.load_state_dict(state)
    return layer


@pytest.fixture
def torch_block() -> Callable[[TransformerBlock], nn.TransformerEncoderLayer]:
    """What turns a block of ours into torch's."""
    return _torch_block
