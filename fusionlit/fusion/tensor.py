"""Tensor fusion."""

import math

import torch
from torch import Tensor, nn

from fusionlit.functional import append_one, outer_product, unit_rms, wide_matmul, widen
from fusionlit.fusion.base import Features, FusionOperator, Presence
from fusionlit.fusion.sizes import check_positive, check_weights, initial_std, vector_sizes
from fusionlit.types import Shape


class TensorFusion(FusionOperator):
    """Linear map of the outer product of all sources: `out = W ([h_1; 1] x ... x [h_K; 1])`, `(B, d_k)` to `(B, o)`.

    The appended 1 keeps the lower orders: each source alone, each pair, ..., and a constant, which is why there is no
    bias. `W` `(o, prod_k (d_k + 1))` starts N(0, prod_k v_k), where v_k is 1 / 2 at the 1 and 1 / (2 d_k) elsewhere, so
    that the output starts with unit variance, and the products of any of the sources have the same share of it. An
    absent source counts as zeros, `[0; 1]`: the products of the others are left. Computed in at least float32, also
    under autocast, and returned in the sources' dtype.

    Source: Zadeh et al., "Tensor fusion network for multimodal sentiment analysis", 2017 (arXiv 1707.07250).

    Args:
        shapes: Shape `(d_k,)` of each source.
        out_features: Number of fused features, o.
        normalize: Bring each source to unit rms before the 1 is appended; the output's scale at the start rests on it.
        max_elements: Largest number of weights; the default is 128 MiB of float32.

    Raises:
        ConfigError: If a source is not a vector, a size is not positive, or the outer product is huge.
    """

    def __init__(
        self, shapes: dict[str, Shape], out_features: int = 64, normalize: bool = True, max_elements: int = 2**25
    ) -> None:
        super().__init__(shapes)
        check_positive("TensorFusion", out_features=out_features)
        sizes = [size + 1 for size in vector_sizes("TensorFusion", self.shapes).values()]
        check_weights("TensorFusion", sizes, out_features, max_elements, instead="LowRankFusion")
        self.normalize = normalize
        std = outer_product([initial_std(size - 1) for size in sizes])
        self.weight = nn.Parameter(torch.randn(out_features, math.prod(sizes)) * std)

    @property
    def out_shape(self) -> Shape:
        """`(out_features,)`."""
        return (self.weight.shape[0],)

    def forward(self, features: Features, presence: Presence | None = None) -> Tensor:
        """Multiply out, then map."""
        sources = self.present(features, presence, absent=0.0)
        wide = [unit_rms(h) if self.normalize else h for h in widen(sources)]
        products = outer_product([append_one(h) for h in wide])
        return wide_matmul(products, self.weight.T).to(sources[0].dtype)
