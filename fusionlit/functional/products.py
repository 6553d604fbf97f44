"""Products of sources: low-rank, outer, bilinear."""

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor


def append_one(x: Tensor) -> Tensor:
    """`z = [x; 1]`, `(..., d)` to `(..., d + 1)`: a product of such vectors keeps all lower-order terms.

    >>> append_one(torch.tensor([[2.0, 3.0]]))
    tensor([[2., 3., 1.]])
    """
    return torch.cat([x, x.new_ones(*x.shape[:-1], 1)], dim=-1)


def low_rank_product(
    sources: Sequence[Tensor],
    factors: Sequence[Tensor],
    weights: Tensor | None = None,
    presence: Sequence[Tensor] | None = None,
) -> Tensor:
    """Sum over the rank of the product over the sources: `sum_i w_i prod_m (W_m[i]^T z_m)`.

    With the weight tensor `sum_i w_i W_1[i] x ... x W_M[i]` (outer products, for each output) this equals its product
    with the outer product of all sources, at a cost linear in M. One matrix product per source computes all ranks,
    whose factors are stored side by side. Where `presence` is false, the projection of the source is replaced by ones.
    Computed in at least float32, even under autocast.

    Shapes: `sources[m]` `(..., d_m)`, `factors[m]` `(d_m, r, o)`, `weights` `(r,)` (default: ones), `presence[m]`
    broadcastable to `(..., 1)` (default: all present), result `(..., o)`.

    Source: Liu et al., "Efficient low-rank multimodal fusion with modality-specific factors", 2018 (arXiv 1806.00064),
    equation 8.

    >>> z, rank_two = torch.tensor([[1.0, 2.0]]), torch.eye(2)[:, :, None]
    >>> low_rank_product([z, z], [rank_two, rank_two])  # 1 * 1 + 2 * 2
    tensor([[5.]])
    """
    projected = [wide_matmul(z, w.flatten(1)) for z, w in zip(sources, factors, strict=True)]
    if presence is not None:
        projected = [torch.where(there, x, 1.0) for there, x in zip(presence, projected, strict=True)]
    product = reduce(torch.mul, projected)
    terms = product.reshape(*product.shape[:-1], *factors[0].shape[1:])
    return (terms if weights is None else terms * weights[:, None]).sum(-2)


def outer_product(sources: Sequence[Tensor]) -> Tensor:
    """Outer product of the sources, flattened: `(..., d_1), ..., (..., d_K)` to `(..., d_1 ... d_K)`.

    The index of the last source varies fastest.

    >>> outer_product([torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])])
    tensor([3., 4., 6., 8.])
    """
    return reduce(lambda a, b: (a[..., :, None] * b[..., None, :]).flatten(-2), sources)


def bilinear_pool(sources: Sequence[Tensor]) -> Tensor:
    """Mean over the positions of the outer product of the sources, flattened: `mean_p h_1[p] x ... x h_K[p]`.

    Computed in at least float32, even under autocast.

    Shapes: `sources[k]` `(B, P, d_k)` with P positions, result `(B, d_1 ... d_K)`.

    Source: Lin et al., "Bilinear CNN models for fine-grained visual recognition", 2015 (arXiv 1504.07889).
    """
    *left, last = widen(sources)
    if not left:
        return last.mean(1)
    # The last outer product and the sum over the positions together are one matrix product.
    return wide_matmul(outer_product(left).mT, last).flatten(1) / last.shape[1]


def wide_matmul(a: Tensor, b: Tensor) -> Tensor:
    """`a @ b` in at least float32, even under autocast, which would round both."""
    a, b = widen([a, b])
    # torch 2.15 has no autocast for the meta device, on which shapes and costs are computed
    if a.is_meta or not torch.is_autocast_enabled(a.device.type):
        return a @ b  # skipping the context saves a third of the time for small products
    with torch.autocast(a.device.type, enabled=False):
        return a @ b


def widen(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Convert tensors to a common dtype: the widest among theirs, and at least float32."""
    if all(x.dtype == torch.float32 for x in tensors):  # the usual case
        return list(tensors)
    dtype = reduce(torch.promote_types, (x.dtype for x in tensors), torch.float32)
    return [x.to(dtype) for x in tensors]
