"""Low-rank fusion against the dense tensor that its factors stand for; the questions of `docs/low_rank_fusion.md`."""

import math

import pytest
import torch
from torch import Tensor

from fusionlit.errors import ConfigError
from fusionlit.fusion import LowRankFusion

SHAPES = {"audio": (3,), "video": (4,), "text": (5,)}
OUT = 6


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def features(batch: int = 7) -> dict[str, Tensor]:
    return {name: draw(batch, *shape, seed=i) for i, (name, shape) in enumerate(SHAPES.items())}


def make(rank: int = 4, normalize: bool = False, rank_weights: bool = False) -> LowRankFusion:
    operator = LowRankFusion(SHAPES, OUT, rank, normalize, rank_weights).double()
    for i, parameter in enumerate(operator.parameters()):
        parameter.data = draw(*parameter.shape, seed=10 + i)
    return operator


def with_one(h: Tensor) -> Tensor:
    return torch.cat([h, torch.ones(len(h), 1, dtype=h.dtype)], 1)


def dense(operator: LowRankFusion) -> Tensor:
    """The weight tensor `(d_1 + 1, d_2 + 1, d_3 + 1, o)`: a sum of outer products over the rank."""
    a, b, c = operator.factors.values()
    rank = a.shape[1]
    weights = torch.ones(rank) if operator.rank_weight is None else operator.rank_weight
    terms = [w * torch.einsum("io,jo,ko->ijko", a[:, i], b[:, i], c[:, i]) for i, w in enumerate(weights)]
    return torch.stack(terms).sum(0) / math.sqrt(rank)


def contract(tensor: Tensor, z: list[Tensor]) -> Tensor:
    """Equation 5: the weight tensor times the outer product of the sources."""
    outer = torch.einsum("bi,bj,bk->bijk", *z)
    return torch.einsum("bijk,ijko->bo", outer, tensor)


def product_of_sums(operator: LowRankFusion, z: list[Tensor]) -> Tensor:
    """Equation 6: each source's projections are added over the rank first, then multiplied."""
    rank = operator.factors["audio"].shape[1]
    factors = operator.factors.values()
    sums = [sum(x @ factor[:, i] for i in range(rank)) for x, factor in zip(z, factors, strict=True)]
    return math.prod(sums) / math.sqrt(rank)


@pytest.mark.parametrize("rank_weights", [False, True])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("rank", [1, 2, 3, 4, 16])
def test_is_the_dense_tensor_of_its_factors(rank, normalize, rank_weights):
    """Equation 5 = equation 8, for every rank."""
    operator, h = make(rank, normalize, rank_weights), features()
    norm = {k: x / x.square().mean(1, keepdim=True).sqrt() if normalize else x for k, x in h.items()}
    expected = contract(dense(operator), [with_one(x) for x in norm.values()])
    if rank_weights:
        expected = expected + operator.bias
    torch.testing.assert_close(operator(h), expected, atol=1e-10, rtol=1e-10)


def test_product_of_sums_is_the_same_at_rank_one_only():
    """Equation 6 holds at rank 1; above, its mixed terms make it another function."""
    h = features()
    z = [with_one(x) for x in h.values()]
    torch.testing.assert_close(product_of_sums(make(rank=1), z), make(rank=1)(h), atol=1e-10, rtol=1e-10)
    for rank in (2, 3, 4):
        operator = make(rank)
        out = operator(h)
        assert (product_of_sums(operator, z) - out).square().mean().sqrt() > 0.5 * out.square().mean().sqrt()


def test_product_of_sums_never_has_more_than_rank_one():
    """Equation 6 at any rank is equation 8 at rank 1, with the factors added up."""
    operator, h = make(rank=4), features()
    one = make(rank=1)
    for name, factor in operator.factors.items():
        one.factors[name].data = factor.data.sum(1, keepdim=True)
    z = [with_one(x) for x in h.values()]
    torch.testing.assert_close(product_of_sums(operator, z), one(h) / 2, atol=1e-10, rtol=1e-10)


def test_factors_absorb_the_rank_weights():
    """Any one source's factors, times the weights, give the same function without them."""
    weighted, plain, h = make(rank_weights=True), make(), features()
    weighted.bias.data.zero_()
    for name, factor in weighted.factors.items():
        plain.factors[name].data = factor.data.clone()
    assert not torch.allclose(plain(h), weighted(h))
    plain.factors["video"].data *= weighted.rank_weight[:, None]
    torch.testing.assert_close(plain(h), weighted(h), atol=1e-10, rtol=1e-10)


def test_factors_do_not_absorb_the_bias():
    """For two sources the weights of an output are a matrix: the bias raises its rank, which r factors cannot reach."""
    rank = 2
    operator = LowRankFusion({"a": (5,), "b": (5,)}, OUT, rank, normalize=False, rank_weights=True).double()
    a, b = operator.factors.values()
    matrices = torch.einsum("iro,jro->oij", a, b)
    assert torch.linalg.matrix_rank(matrices).tolist() == [rank] * OUT
    operator.bias.data.fill_(1.0)
    constant = torch.zeros(6, 6, dtype=torch.float64)
    constant[-1, -1] = math.sqrt(rank)  # the entry of 1 x 1
    h = {"a": draw(7, 5), "b": draw(7, 5, seed=1)}
    whole = torch.einsum("bi,bj,oij->bo", with_one(h["a"]), with_one(h["b"]), matrices + constant) / math.sqrt(rank)
    torch.testing.assert_close(operator(h), whole, atol=1e-10, rtol=1e-10)
    assert torch.linalg.matrix_rank(matrices + constant).tolist() == [rank + 1] * OUT


@pytest.mark.parametrize("normalize", [False, True])
def test_an_absent_source_is_zeros_and_a_one(normalize):
    operator, h = make(normalize=normalize), features(2)
    there = {name: torch.tensor([True, name != "video"]) for name in SHAPES}
    z = [with_one(x / x.square().mean(1, keepdim=True).sqrt() if normalize else x) for x in h.values()]
    z[1][1] = torch.tensor([0.0, 0, 0, 0, 1])
    torch.testing.assert_close(operator(h, there), contract(dense(operator), z), atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("rank", [1, 4])
@pytest.mark.parametrize("sources", range(2, 9))
def test_output_begins_at_unit_scale(sources, rank):
    torch.manual_seed(0)
    shapes = {str(i): (32 + i,) for i in range(sources)}
    h = {name: 5 * torch.randn(1024, *shape) + 2 for name, shape in shapes.items()}
    assert 0.3 < LowRankFusion(shapes, 16, rank)(h).std() < 3


@pytest.mark.parametrize("absent", [1, 2, 4])
def test_an_absent_source_halves_the_variance_at_the_start(absent):
    """Not d + 1 = 33 times smaller for each, which would leave 5e-6 of the deviation without seven of eight sources."""
    torch.manual_seed(0)
    shapes = {str(i): (32,) for i in range(8)}
    h = {name: torch.randn(256, *shape) for name, shape in shapes.items()}
    presence = {name: torch.full((256,), i >= absent) for i, name in enumerate(shapes)}
    left = LowRankFusion(shapes, 4096)(h, presence).square().mean()
    assert left.item() == pytest.approx(2.0**-absent, rel=0.2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("sources", [2, 8])
def test_half_precision_rounds_the_inputs_and_the_result_alone(dtype, sources):
    """Against float32 the error stays below the dtype's epsilon, both as root mean squares."""
    torch.manual_seed(0)
    shapes = {str(i): (32,) for i in range(sources)}
    operator = LowRankFusion(shapes, 16)
    h = {name: torch.randn(64, *shape) for name, shape in shapes.items()}
    half = {name: x.to(dtype) for name, x in h.items()}
    out, exact = operator(half), operator(h)
    assert out.dtype == dtype
    assert torch.equal(out, operator({name: x.float() for name, x in half.items()}).to(dtype))
    error = (out.float() - exact).square().mean().sqrt() / exact.square().mean().sqrt()
    assert 0 < error < torch.finfo(dtype).eps
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(operator(h), exact)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_module_in_half_precision_computes_in_float32(dtype):
    shapes = {str(i): (32,) for i in range(8)}
    operator = LowRankFusion(shapes, 16, normalize=True).to(dtype)
    h = {name: (1e4 * draw(4, *shape, dtype=torch.float32)).to(dtype) for name, shape in shapes.items()}
    wide = operator({name: x.float() for name, x in h.items()})
    assert wide.dtype == torch.float32
    assert wide.isfinite().all()
    assert torch.equal(operator(h), wide.to(dtype))


def test_parameters_are_saved_and_trained():
    operator = make(rank_weights=True)
    factors = ["factors.audio", "factors.video", "factors.text"]
    assert sorted(operator.state_dict()) == sorted(["rank_weight", "bias", *factors])
    assert sorted(make().state_dict()) == sorted(factors)
    operator(features()).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in operator.parameters())
    sizes = sum(p.numel() for p in make().parameters())
    assert sizes == 4 * OUT * (4 + 5 + 6)


@pytest.mark.parametrize(
    ("shapes", "arguments", "message"),
    [
        (SHAPES, {"rank": 0}, "Expected `rank` of LowRankFusion to be at least 1, but got 0."),
        (SHAPES, {"out_features": 0}, "Expected `out_features` of LowRankFusion to be at least 1"),
        ({"rgb": (8, 4, 4), "acc": (3,)}, {}, "to be vectors (d,), but got {'rgb': (8, 4, 4), 'acc': (3,)}. End each"),
        ({"rgb": (8, 4, 4)}, {}, "`dense: [64]` of ConvEncoder, or use Bilinear, which averages over positions."),
    ],
)
def test_misuse_is_explained(shapes, arguments, message):
    with pytest.raises(ConfigError) as caught:
        LowRankFusion(shapes, **arguments)
    assert message in str(caught.value)
