"""Cross-modal attention against torch's multi-head attention, sample by sample."""

import pytest
import torch

from fusionlit.errors import ConfigError
from fusionlit.fusion import CrossModalAttention

SHAPES = {"rgb": (3, 2, 4), "sound": (5, 6), "state": (7,)}


def draw(shapes, batch=3, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(batch, *shape, generator=generator, dtype=dtype) for name, shape in shapes.items()}


def some_presence():
    """All there, two of three, one alone."""
    columns = [[True, True, False], [True, False, False], [True, True, True]]
    return {source: torch.tensor(column) for source, column in zip(SHAPES, columns, strict=True)}


def by_hand(operator, features, presence, torch_block):
    """The output, and the attention `(B, K)` that each source gets from the others."""
    blocks = [torch_block(block) for block in operator.blocks]
    out, shares = [], []
    for b in range(3):
        sources = [k for k, source in enumerate(features) if presence[source][b]]
        z = [embed(features[source][b : b + 1]) for source, embed in zip(features, operator.tokens, strict=True)]
        mass = torch.zeros(len(features), dtype=torch.float64)
        pooled = []
        for k in sources:
            others = [j for j in sources if j != k]
            looked = blocks[k].self_attn.out_proj.bias
            if others:
                query = blocks[k].norm1(z[k])
                context = blocks[k].norm1(torch.cat([z[j] for j in others], dim=1))
                looked, weights = blocks[k].self_attn(query, context, context)
                parts = weights[0].mean(0).split([z[j].shape[1] for j in others])
                for j, part in zip(others, parts, strict=True):
                    mass[j] += part.sum()
            y = z[k] + looked
            y = y + blocks[k].linear2(torch.nn.functional.gelu(blocks[k].linear1(blocks[k].norm2(y))))
            pooled.append(y.mean(1))
        out.append(operator.norm(torch.stack(pooled).mean(0)))
        if len(sources) == 1:
            mass[sources] = 1.0
        shares.append(mass / mass.sum())
    return torch.cat(out), torch.stack(shares)


def test_it_is_torchs_attention_over_the_others_that_are_there(torch_block):
    operator = CrossModalAttention(SHAPES, width=8, heads=2).double()
    features, presence = draw(SHAPES), some_presence()
    expected, shares = by_hand(operator, features, presence, torch_block)
    torch.testing.assert_close(operator(features, presence), expected, rtol=0, atol=1e-10)
    assert shares[1].tolist() == pytest.approx([0.5, 0.0, 0.5])  # of two, each gives all to the other
    for k, (source, weight) in enumerate(operator.fusion_weights().items()):
        assert weight.item() == pytest.approx(shares[presence[source], k].mean().item(), abs=1e-6)


def test_order_of_the_sources_does_not_matter():
    features = draw(SHAPES)
    operator = CrossModalAttention(SHAPES, width=8, heads=2).double()
    reverse = CrossModalAttention(dict(reversed(SHAPES.items())), width=8, heads=2).double()
    for name in ("blocks", "tokens"):
        for ours, theirs in zip(getattr(operator, name), reversed(getattr(reverse, name)), strict=True):
            theirs.load_state_dict(ours.state_dict())
    torch.testing.assert_close(reverse(features), operator(features))
    torch.testing.assert_close(reverse.fusion_weights(), operator.fusion_weights())


def test_a_source_that_is_alone_is_finite_however_it_is_alone():
    shape = {"rgb": SHAPES["rgb"]}
    only = CrossModalAttention(shape, width=8, heads=2)
    out = only(draw(shape, dtype=torch.float32))
    out.square().sum().backward()
    assert out.isfinite().all()
    assert all(p.grad.isfinite().all() for p in only.parameters())
    assert only.fusion_weights()["rgb"].item() == 1

    operator = CrossModalAttention(SHAPES, width=8, heads=2)
    absent = {source: torch.tensor([source == "sound", False, False]) for source in SHAPES}
    out = operator(draw(SHAPES, dtype=torch.float32), absent)
    out.square().sum().backward()
    assert out.isfinite().all()
    assert all(p.grad.isfinite().all() for p in operator.parameters())


@pytest.mark.parametrize("sources", range(2, 9))
def test_output_begins_at_a_useful_scale(sources):
    torch.manual_seed(0)
    shapes = {f"m{k}": (32 + 8 * k,) for k in range(sources)}
    with torch.no_grad():
        out = CrossModalAttention(shapes, width=16)(draw(shapes, batch=256, dtype=torch.float32))
    assert 0.3 < out.std() < 3
    assert 0.3 < out.std(0).mean() < 3  # from sample to sample


@pytest.mark.parametrize(("dtype", "error"), [(torch.float16, 1e-2), (torch.bfloat16, 1e-1)])
def test_half_precision_stays_close(dtype, error):
    torch.manual_seed(0)
    operator, features = CrossModalAttention(SHAPES), draw(SHAPES, dtype=torch.float32)
    expected = operator(features, some_presence())
    out = operator.to(dtype)({k: x.to(dtype) for k, x in features.items()}, some_presence())
    assert out.dtype == dtype
    assert (out.float() - expected).abs().max() < error


def test_heads_must_divide_the_width():
    with pytest.raises(ConfigError, match=r"Expected `heads` to divide `width`, both .* got width=10 and heads=4"):
        CrossModalAttention(SHAPES, width=10, heads=4)
