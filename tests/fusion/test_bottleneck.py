"""Bottleneck attention against torch's transformer layers, put together as the paper has them."""

import pytest
import torch

from fusionlit.errors import ConfigError
from fusionlit.fusion import BottleneckAttention, CrossModalAttention

SHAPES = {"rgb": (3, 2, 4), "sound": (5, 6), "state": (7,)}


def draw(shapes, batch=3, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(batch, *shape, generator=generator, dtype=dtype) for name, shape in shapes.items()}


def some_presence():
    """All there, two of three, one alone."""
    columns = [[True, True, False], [True, False, False], [True, True, True]]
    return {source: torch.tensor(column) for source, column in zip(SHAPES, columns, strict=True)}


def by_hand(operator, features, presence, torch_block):
    """The output and the bottleneck's attention `(B, K)`, every token computed in every layer, sample by sample."""
    layers = [[torch_block(block) for block in blocks] for blocks in operator.layers]
    out, shares = [], []
    for b in range(3):
        sources = [k for k, source in enumerate(features) if presence[source][b]]
        z = [embed(features[source][b : b + 1]) for source, embed in zip(features, operator.tokens, strict=True)]
        f = operator.bottleneck[None]
        mass = torch.zeros(len(features), dtype=torch.float64)
        for blocks in layers:
            seen = []
            for k in sources:
                joined = torch.cat([z[k], f], dim=1)
                normed = blocks[k].norm1(joined)
                _, weights = blocks[k].self_attn(normed, normed, normed)  # the mean over the heads
                n = z[k].shape[1]
                mass[k] += weights[0, n:, :n].sum(1).mean()
                after = blocks[k](joined)
                z[k], shared = after[:, :n], after[:, n:]
                seen.append(shared)
            f = torch.stack(seen).mean(0)
        out.append(operator.norm(f.mean(1)))
        shares.append(mass / mass.sum())
    return torch.cat(out), torch.stack(shares)


@pytest.mark.parametrize("layers", [1, 2])
def test_layers_are_those_of_the_paper(layers, torch_block):
    operator = BottleneckAttention(SHAPES, width=8, tokens=3, heads=2, layers=layers).double()
    features, presence = draw(SHAPES), some_presence()
    expected, shares = by_hand(operator, features, presence, torch_block)
    torch.testing.assert_close(operator(features, presence), expected, rtol=0, atol=1e-10)
    for k, (source, weight) in enumerate(operator.fusion_weights().items()):
        assert weight.item() == pytest.approx(shares[presence[source], k].mean().item(), abs=1e-6)


def test_order_of_the_sources_does_not_matter():
    features = draw(SHAPES)
    operator = BottleneckAttention(SHAPES, width=8, tokens=3, heads=2, layers=2).double()
    reverse = BottleneckAttention(dict(reversed(SHAPES.items())), width=8, tokens=3, heads=2, layers=2).double()
    reverse.load_state_dict(mirrored(operator.state_dict(), len(SHAPES)))
    torch.testing.assert_close(reverse(features), operator(features))
    torch.testing.assert_close(reverse.fusion_weights(), operator.fusion_weights())


def mirrored(state, sources):
    """The same parameters for the sources in reverse order."""
    renamed = {}
    for name, value in state.items():
        parts = name.split(".")
        place = {"tokens": 1, "layers": 2}.get(parts[0])
        if place:
            parts[place] = str(sources - 1 - int(parts[place]))
        renamed[".".join(parts)] = value
    return renamed


def test_place_in_a_map_matters():
    operator, features = BottleneckAttention(SHAPES, width=8, heads=2).double(), draw(SHAPES)
    torch.nn.init.normal_(operator.tokens[0].positions)
    turned = {**features, "rgb": features["rgb"].flip(-1)}
    assert (operator(turned) - operator(features)).abs().max() > 1e-3


def test_a_sample_without_any_source_is_finite():
    operator = BottleneckAttention(SHAPES, width=8, heads=2)
    features = {name: x.requires_grad_() for name, x in draw(SHAPES, dtype=torch.float32).items()}
    out = operator(features, {source: torch.tensor([True, False, False]) for source in SHAPES})
    out.square().sum().backward()
    assert out.isfinite().all()
    assert all(p.grad.isfinite().all() for p in operator.parameters())


@pytest.mark.parametrize("sources", range(2, 9))
def test_output_begins_at_a_useful_scale(sources):
    torch.manual_seed(0)
    shapes = {f"m{k}": (32 + 8 * k,) for k in range(sources)}
    with torch.no_grad():
        out = BottleneckAttention(shapes, width=16)(draw(shapes, batch=256, dtype=torch.float32))
    assert 0.3 < out.std() < 3


@pytest.mark.parametrize(("dtype", "error"), [(torch.float16, 1e-2), (torch.bfloat16, 1e-1)])
def test_half_precision_stays_close(dtype, error):
    torch.manual_seed(0)
    operator, features = BottleneckAttention(SHAPES, layers=2), draw(SHAPES, dtype=torch.float32)
    expected = operator(features, some_presence())
    out = operator.to(dtype)({k: x.to(dtype) for k, x in features.items()}, some_presence())
    assert out.dtype == dtype
    assert (out.float() - expected).abs().max() < error


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 10, "heads": 4}, "Expected `heads` to divide `width`, both .* but got width=10 and heads=4"),
        ({"tokens": 0}, "Expected `tokens` of BottleneckAttention to be at least 1, but got 0"),
        ({"layers": 0}, "Expected `layers` of BottleneckAttention to be at least 1, but got 0"),
    ],
)
def test_misuse_is_explained(options, message):
    with pytest.raises(ConfigError, match=message):
        BottleneckAttention(SHAPES, **options)


@pytest.mark.parametrize("operator", [BottleneckAttention, CrossModalAttention])
def test_too_many_tokens_are_refused(operator):
    maps = {"rgb": (4, 64, 64), "lidar": (4, 64, 64)}
    with pytest.raises(ConfigError) as caught:
        operator(maps)
    assert f"Expected {operator.__name__} to have at most `max_tokens`=2,048 tokens, but" in str(caught.value)
    assert "are 4,096 + 4,096 = 8,192, and the memory of attention grows with the square. Fuse" in str(caught.value)
    operator({"rgb": (4, 32, 32), "sound": (4, 1023), "state": (7,)})
