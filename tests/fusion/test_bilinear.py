"""Bilinear pooling against `torch.nn.functional.bilinear` and dense contractions."""

import math

import pytest
import torch
from torch import Tensor

from fusionlit.errors import ConfigError
from fusionlit.fusion import Bilinear, ShapeMismatchError

VECTORS = {"rgb": (3,), "lidar": (4,), "radar": (5,)}
MAPS = {name: (*shape, 2, 3) for name, shape in VECTORS.items()}
OUT = 6


def features(shapes: dict[str, tuple[int, ...]], batch: int = 7) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {k: torch.randn(batch, *shape, generator=generator, dtype=torch.float64) for k, shape in shapes.items()}


def normalized(h: dict[str, Tensor]) -> list[Tensor]:
    return [x / x.square().flatten(1).mean(1).sqrt().reshape(-1, *(1,) * (x.ndim - 1)) for x in h.values()]


def dense(operator: Bilinear) -> Tensor:
    """The weights `(o, d_1, d_2, d_3)`, rebuilt where they are factorised."""
    if operator.weight is not None:
        return operator.weight
    factors = list(operator.factors.values())
    return torch.einsum("iro,jro,kro->oijk", *factors) / math.sqrt(factors[0].shape[1])


def test_of_two_vectors_is_torchs_bilinear():
    shapes = {"rgb": (3,), "lidar": (4,)}
    operator, h = Bilinear(shapes, OUT).double(), features(shapes)
    expected = torch.nn.functional.bilinear(*normalized(h), operator.weight)
    torch.testing.assert_close(operator(h), expected, atol=1e-10, rtol=1e-10)


def test_of_two_maps_is_the_mean_of_torchs_bilinear_over_positions():
    shapes = {"rgb": (3, 2, 5), "lidar": (4, 2, 5)}
    operator, h = Bilinear(shapes, OUT).double(), features(shapes)
    positions = [x.permute(0, 2, 3, 1).contiguous() for x in normalized(h)]
    expected = torch.nn.functional.bilinear(*positions, operator.weight).mean((1, 2))
    torch.testing.assert_close(operator(h), expected, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("rank", [None, 1, 3])
def test_of_three_is_the_dense_contraction(rank):
    vectors, maps = Bilinear(VECTORS, OUT, rank).double(), Bilinear(MAPS, OUT, rank).double()
    h = features(VECTORS)
    expected = torch.einsum("bi,bj,bk,oijk->bo", *normalized(h), dense(vectors))
    torch.testing.assert_close(vectors(h), expected, atol=1e-10, rtol=1e-10)
    h = features(MAPS)
    expected = torch.einsum("biyx,bjyx,bkyx,oijk->bo", *normalized(h), dense(maps)) / 6
    torch.testing.assert_close(maps(h), expected, atol=1e-10, rtol=1e-10)


def test_positions_may_be_shuffled_together_but_not_apart():
    operator, h = Bilinear(MAPS, OUT, rank=2).double(), features(MAPS)
    together = {name: x.flip(-1) for name, x in h.items()}
    torch.testing.assert_close(operator(together), operator(h))
    assert not torch.allclose(operator({**h, "rgb": together["rgb"]}), operator(h))


@pytest.mark.parametrize("shapes", [VECTORS, MAPS], ids=["vectors", "maps"])
def test_an_absent_source_counts_as_ones(shapes):
    operator, h = Bilinear(shapes, OUT).double(), features(shapes, 2)
    there = {name: torch.tensor([True, name != "lidar"]) for name in shapes}
    a, b, c = (x.reshape(2, x.shape[1], -1) for x in normalized(h))
    b[1] = 1.0
    expected = torch.einsum("bip,bjp,bkp,oijk->bo", a, b, c, dense(operator)) / a.shape[2]
    torch.testing.assert_close(operator(h, there), expected, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("shapes", [VECTORS, MAPS], ids=["vectors", "maps"])
def test_an_absent_source_leaves_the_factorised_product_of_the_others(shapes):
    operator, h = Bilinear(shapes, OUT, rank=3).double(), features(shapes, 2)
    others = Bilinear({name: shapes[name] for name in ("rgb", "radar")}, OUT, rank=3).double()
    for name in others.factors:
        others.factors[name].data = operator.factors[name].data
    there = {name: torch.tensor([True, name != "lidar"]) for name in shapes}
    out = operator(h, there)
    torch.testing.assert_close(out[0], operator(h)[0], atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(out[1], others(h)[1], atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize(("sources", "rank"), [(2, None), (3, None), *((k, r) for k in range(2, 9) for r in (1, 4))])
def test_output_begins_at_unit_scale_also_with_one_source_left(sources, rank):
    torch.manual_seed(0)
    shapes = {str(i): (32,) for i in range(sources)}
    h = {name: 5 * torch.randn(1024, *shape) + 2 for name, shape in shapes.items()}
    operator = Bilinear(shapes, 16, rank)
    assert 0.3 < operator(h).std() < 3
    only = {name: torch.full((1024,), name == "0") for name in shapes}
    assert 0.3 < operator(h, only).std() < 3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("sources", "rank"), [(2, None), (8, 4)])
def test_half_precision_rounds_the_inputs_and_the_result_alone(dtype, sources, rank):
    """Against float32 the error stays below the dtype's epsilon, both as root mean squares."""
    torch.manual_seed(0)
    shapes = {str(i): (32, 3) for i in range(sources)}
    operator = Bilinear(shapes, 16, rank)
    h = {name: torch.randn(32, *shape) for name, shape in shapes.items()}
    half = {name: x.to(dtype) for name, x in h.items()}
    out, exact = operator(half), operator(h)
    assert out.dtype == dtype
    assert torch.equal(out, operator({name: x.float() for name, x in half.items()}).to(dtype))
    error = (out.float() - exact).square().mean().sqrt() / exact.square().mean().sqrt()
    assert 0 < error < torch.finfo(dtype).eps
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(operator(h), exact)


@pytest.mark.parametrize(
    ("rank", "expected"),
    [
        (None, {"weight": (6, 3, 4, 5)}),
        (2, {"factors.rgb": (3, 2, 6), "factors.lidar": (4, 2, 6), "factors.radar": (5, 2, 6)}),
    ],
)
def test_parameters_are_saved_and_trained(rank, expected):
    operator = Bilinear(MAPS, OUT, rank).double()
    assert {name: tuple(x.shape) for name, x in operator.state_dict().items()} == expected
    operator(features(MAPS)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in operator.parameters())


@pytest.mark.parametrize(
    ("shapes", "arguments", "error", "message"),
    [
        (
            {"a": (3, 4, 4), "b": (3, 2, 2)},
            {},
            ShapeMismatchError,
            "Bilinear to have the same dimensions after the channels",
        ),
        ({"a": (3, 4, 4), "b": (3,)}, {}, ShapeMismatchError, "but got {'a': (3, 4, 4), 'b': (3,)}."),
        (VECTORS, {"rank": 0}, ConfigError, "Expected `rank` of Bilinear to be at least 1, but got 0."),
        (VECTORS, {"out_features": 0}, ConfigError, "Expected `out_features` of Bilinear to be at least 1, but got 0."),
        (
            dict.fromkeys("abc", (128, 8, 8)),
            {},
            ConfigError,
            "128 x 128 x 128 = 2,097,152 products per sample and `out_features`=64 need 134,217,728. Use the form with"
            " `rank`,",
        ),
    ],
)
def test_misuse_is_explained(shapes, arguments, error, message):
    with pytest.raises(error) as caught:
        Bilinear(shapes, **arguments)
    assert message in str(caught.value)
