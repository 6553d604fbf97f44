"""One token per source against torch's own encoder, sample by sample over the sources that are there."""

import pytest
import torch

from fusionlit.errors import ConfigError
from fusionlit.fusion import TransformerFusion

SHAPES = {"image": (3, 4, 5), "signal": (5, 6), "state": (7,)}
PRESENCE = {
    "image": torch.tensor([True, True, False]),
    "signal": torch.tensor([True, False, False]),
    "state": torch.tensor([True, True, True]),
}


def draw(batch=3):
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(batch, *s, generator=generator, dtype=torch.float64) for name, s in SHAPES.items()}


def by_hand(operator, features, presence, torch_block):
    """The output, and the attention `(B, K)` of the CLS token; what is absent is left out of the sequence."""
    layers = [torch_block(block) for block in operator.blocks]
    out, shares = [], []
    for b in range(3):
        names = [name for name in SHAPES if presence[name][b]]
        pooled = [features[name][b].reshape(SHAPES[name][0], -1).mean(1) for name in names]
        own = [operator.tokens[name].linear(x) for name, x in zip(names, pooled, strict=True)]
        x = torch.stack([operator.cls[0], *own])[None]
        mass = dict.fromkeys(SHAPES, 0.0)
        for layer in layers:
            normed = layer.norm1(x)
            _, weights = layer.self_attn(normed, normed, normed)
            for name, weight in zip(names, weights[0, 0, 1:], strict=True):
                mass[name] += weight.item()
            x = layer(x)
        out.append(operator.norm(x[0, 0]))
        shares.append(torch.tensor([*mass.values()], dtype=torch.float64) / sum(mass.values()))
    return torch.stack(out), torch.stack(shares)


@pytest.mark.parametrize("layers", [1, 3])
def test_it_is_torchs_encoder_over_what_is_there(layers, torch_block):
    operator = TransformerFusion(SHAPES, width=8, heads=2, layers=layers).double()
    features = draw()
    expected, shares = by_hand(operator, features, PRESENCE, torch_block)
    torch.testing.assert_close(operator(features, PRESENCE), expected, rtol=0, atol=1e-10)
    for k, (name, weight) in enumerate(operator.fusion_weights().items()):
        assert weight.item() == pytest.approx(shares[PRESENCE[name], k].mean().item(), abs=1e-6)


def test_the_order_within_a_map_does_not_matter():
    operator = TransformerFusion(SHAPES, width=8, heads=2).double()
    features = draw()
    mixed = {**features, "image": features["image"].flip(2, 3)}
    torch.testing.assert_close(operator(mixed), operator(features))


def test_dropout_acts_while_training_only():
    operator = TransformerFusion(SHAPES, width=8, heads=2, dropout=0.5).double()
    features = draw()
    assert not torch.equal(operator(features), operator(features))
    assert torch.equal(operator.eval()(features), operator(features))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": 0}, "`layers` of TransformerFusion to be at least 1, but got 0"),
        ({"width": 6, "heads": 4}, "`heads` to divide `width`"),
        ({"dropout": 1.0}, r"`dropout` to be in \[0, 1\), but got 1.0"),
    ],
)
def test_misuse_is_explained(options, message):
    with pytest.raises(ConfigError, match=message):
        TransformerFusion(SHAPES, **options)
