"""The products against `torch.einsum`, written out."""

import pytest
import torch
from torch import Tensor

from fusionlit.functional import append_one, bilinear_pool, low_rank_product, outer_product, wide_matmul, widen


def draw(*shapes: tuple[int, ...], dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]


def test_append_one_puts_the_one_last():
    (x,) = draw((2, 3, 4))
    assert torch.equal(append_one(x)[..., :4], x)
    assert torch.equal(append_one(x)[..., 4:], torch.ones(2, 3, 1, dtype=torch.float64))


def test_low_rank_product_is_the_dense_contraction():
    a, b, c, u, v, w, weights = draw((2, 3), (2, 4), (2, 5), (3, 6, 7), (4, 6, 7), (5, 6, 7), (6,))
    expected = torch.einsum("r,bi,bj,bk,iro,jro,kro->bo", weights, a, b, c, u, v, w)
    torch.testing.assert_close(low_rank_product([a, b, c], [u, v, w], weights), expected)
    expected = torch.einsum("bi,bj,bk,iro,jro,kro->bo", a, b, c, u, v, w)
    torch.testing.assert_close(low_rank_product([a, b, c], [u, v, w]), expected)


def test_low_rank_product_takes_any_leading_dimensions():
    a, b, u, v = draw((2, 8, 3), (2, 8, 4), (3, 6, 7), (4, 6, 7))
    expected = torch.einsum("bpi,bpj,iro,jro->bpo", a, b, u, v)
    torch.testing.assert_close(low_rank_product([a, b], [u, v]), expected)


def test_low_rank_product_of_what_is_there():
    a, b, u, v = draw((2, 3), (2, 4), (3, 6, 7), (4, 6, 7))
    presence = [torch.tensor([[True], [True]]), torch.tensor([[True], [False]])]
    out = low_rank_product([a, b], [u, v], presence=presence)
    torch.testing.assert_close(out[0], torch.einsum("i,j,iro,jro->o", a[0], b[0], u, v))
    torch.testing.assert_close(out[1], torch.einsum("i,iro->o", a[1], u))


def test_outer_product_runs_through_the_last_source_first():
    a, b, c = draw((2, 3), (2, 4), (2, 5))
    torch.testing.assert_close(outer_product([a, b, c]), torch.einsum("bi,bj,bk->bijk", a, b, c).flatten(1))
    assert torch.equal(outer_product([a]), a)


def test_bilinear_pool_is_the_mean_of_outer_products():
    a, b, c = draw((2, 6, 3), (2, 6, 4), (2, 6, 5))
    torch.testing.assert_close(bilinear_pool([a, b, c]), torch.einsum("bpi,bpj,bpk->bijk", a, b, c).flatten(1) / 6)
    torch.testing.assert_close(bilinear_pool([a, b]), (a.mT @ b).flatten(1) / 6)
    torch.testing.assert_close(bilinear_pool([a]), a.mean(1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_wide_matmul_is_not_rounded(dtype):
    a, b = draw((4, 64), (64, 4), dtype=torch.float32)
    expected = a.to(dtype).float() @ b
    assert torch.equal(wide_matmul(a.to(dtype), b), expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert (a.to(dtype).float() @ b).dtype == torch.bfloat16, "autocast would round"
        assert torch.equal(wide_matmul(a.to(dtype), b), expected)
        assert torch.is_autocast_enabled("cpu"), "what follows must still run under autocast"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([torch.float16, torch.float16], torch.float32),
        ([torch.float16, torch.bfloat16], torch.float32),
        ([torch.bfloat16, torch.float64], torch.float64),
    ],
)
def test_widen_goes_to_the_widest(given, expected):
    assert {x.dtype for x in widen([torch.ones(1, dtype=dtype) for dtype in given])} == {expected}
