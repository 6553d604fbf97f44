"""Tensor fusion against explicit outer products."""

import math

import pytest
import torch
from torch import Tensor

from fusionlit.errors import ConfigError
from fusionlit.fusion import LowRankFusion, TensorFusion

SHAPES = {"audio": (3,), "video": (4,), "text": (5,)}


def features(batch: int = 7) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {k: torch.randn(batch, *shape, generator=generator, dtype=torch.float64) for k, shape in SHAPES.items()}


def with_one(h: Tensor) -> Tensor:
    return torch.cat([h, torch.ones(len(h), 1, dtype=h.dtype)], 1)


@pytest.mark.parametrize("normalize", [False, True])
def test_is_a_linear_map_of_explicit_outer_products(normalize):
    operator, h = TensorFusion(SHAPES, 6, normalize).double(), features()
    weight = operator.weight.reshape(6, 4, 5, 6)
    expected = []
    for sample in zip(*h.values(), strict=True):
        x, y, z = (with_one(v[None] / v.square().mean().sqrt() if normalize else v[None])[0] for v in sample)
        outer = torch.stack([torch.stack([a * b * z for b in y]) for a in x])
        expected.append((weight * outer).sum((1, 2, 3)))
    torch.testing.assert_close(operator(h), torch.stack(expected), atol=1e-10, rtol=1e-10)


def test_low_rank_fusion_is_tensor_fusion_with_the_rebuilt_weights():
    low_rank, operator = LowRankFusion(SHAPES, 6, rank=3).double(), TensorFusion(SHAPES, 6).double()
    rebuilt = torch.einsum("iro,jro,kro->oijk", *low_rank.factors.values()) / math.sqrt(3)
    operator.weight.data = rebuilt.flatten(1)
    torch.testing.assert_close(operator(features()), low_rank(features()), atol=1e-10, rtol=1e-10)


def test_an_absent_source_is_zeros_and_a_one():
    operator, h = TensorFusion(SHAPES, 6, normalize=False).double(), features(2)
    there = {name: torch.tensor([True, name != "video"]) for name in SHAPES}
    others = torch.einsum("bi,bk->bik", with_one(h["audio"]), with_one(h["text"]))
    expected = torch.einsum("bik,oik->bo", others, operator.weight.reshape(6, 4, 5, 6)[:, :, -1])
    out = operator(h, there)
    torch.testing.assert_close(out[1], expected[1])
    torch.testing.assert_close(out[0], operator(h)[0])
    alone = {name: torch.zeros(2, dtype=torch.bool) for name in SHAPES}
    torch.testing.assert_close(operator(h, alone), operator.weight[:, -1].expand(2, 6))


@pytest.mark.parametrize("sources", [2, 3, 4])
def test_output_begins_at_unit_scale(sources):
    """As far as the size allows: five sources of 32 features would have 39 million products."""
    torch.manual_seed(0)
    shapes = {str(i): (32,) for i in range(sources)}
    h = {name: 5 * torch.randn(8 if sources == 4 else 256, *shape) + 2 for name, shape in shapes.items()}
    with torch.no_grad():
        assert 0.3 < TensorFusion(shapes, 16)(h).std() < 3


def test_the_products_of_any_of_the_sources_begin_with_the_same_share():
    """1, a, b, and a b: a quarter of the variance each, however many entries they have."""
    torch.manual_seed(0)
    shapes = {"a": (32,), "b": (8,)}
    h = {name: torch.randn(64, *shape) for name, shape in shapes.items()}
    operator = TensorFusion(shapes, 4096)
    weight = operator.weight.detach().reshape(4096, 33, 9)
    for rows in (slice(0, 32), slice(32, 33)):
        for columns in (slice(0, 8), slice(8, 9)):
            part = torch.zeros_like(weight)
            part[:, rows, columns] = weight[:, rows, columns]
            operator.weight.data = part.flatten(1)
            assert operator(h).square().mean().item() == pytest.approx(0.25, rel=0.1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_rounds_the_inputs_and_the_result_alone(dtype):
    """Against float32 the error stays below the dtype's epsilon, both as root mean squares."""
    torch.manual_seed(0)
    shapes = {str(i): (32,) for i in range(3)}
    operator = TensorFusion(shapes, 16)
    h = {name: torch.randn(32, *shape) for name, shape in shapes.items()}
    half = {name: x.to(dtype) for name, x in h.items()}
    out, exact = operator(half), operator(h)
    assert out.dtype == dtype
    assert torch.equal(out, operator({name: x.float() for name, x in half.items()}).to(dtype))
    error = (out.float() - exact).square().mean().sqrt() / exact.square().mean().sqrt()
    assert 0 < error < torch.finfo(dtype).eps
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(operator(h), exact)


def test_parameters_are_saved_and_trained():
    operator = TensorFusion(SHAPES, 6).double()
    assert {name: tuple(x.shape) for name, x in operator.state_dict().items()} == {"weight": (6, 4 * 5 * 6)}
    operator(features()).square().sum().backward()
    assert operator.weight.grad.any(1).all()


@pytest.mark.parametrize(
    ("shapes", "arguments", "message"),
    [
        (
            {"audio": (32,), "video": (32,), "text": (64,)},
            {"max_elements": 4_000_000},
            "Expected TensorFusion to need at most `max_elements`=4,000,000 weights, but 33 x 33 x 65 = 70,785 products"
            " per sample and `out_features`=64 need 4,530,240. Use LowRankFusion, give the sources fewer"
            " features, or raise `max_elements`.",
        ),
        ({str(i): (512,) for i in range(8)}, {}, "513 x 513 x 513 x 513 x 513 x 513 x 513 x 513 = "),
        ({"rgb": (8, 4, 4)}, {}, "the sources of TensorFusion to be vectors (d,), but got {'rgb': (8, 4, 4)}"),
        (SHAPES, {"out_features": -1}, "Expected `out_features` of TensorFusion to be at least 1, but got -1."),
    ],
)
def test_misuse_is_explained(shapes, arguments, message):
    with pytest.raises(ConfigError) as caught:
        TensorFusion(shapes, **arguments)
    assert message in str(caught.value)


def test_the_limit_itself_is_allowed():
    TensorFusion(SHAPES, 6, max_elements=4 * 5 * 6 * 6)
    with pytest.raises(ConfigError, match="= 120 products"):
        TensorFusion(SHAPES, 6, max_elements=4 * 5 * 6 * 6 - 1)
