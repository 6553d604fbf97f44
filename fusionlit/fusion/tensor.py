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

    The appended 1 keeps lower-order terms: each source alone, each pair, ..., and a constant, which replaces a bias.
    `W` `(o, prod_k (d_k + 1))` is initialised N(0, prod_k v_k), with v_k = 1 / 2 at the 1 and 1 / (2 d_k) elsewhere, so
    that the output has unit variance at initialisation, shared equally by the products of each subset of sources. A
    missing source becomes `[0; 1]`, which leaves the products of the others. Computed in at least float32, even under
    autocast, and returned in the dtype of the sources.

    Source: Zadeh et al., "Tensor fusion network for multimodal sentiment analysis", 2017 (arXiv 1707.07250).

    Args:
        shapes: Shape `(d_k,)` of each source.
        out_features: Number of fused features, o.
        normalize: Scale each source to unit rms before the 1 is appended; the initial output scale assumes it.
        max_elements: Maximum number of weights; the default is 128 MiB of float32.

    Raises:
        ConfigError: If a source is not a vector, a size is not positive, or the weights exceed `max_elements`.
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
        """Take the outer product and map it linearly."""
        sources = self.fill_missing(features, presence, value=0.0)
        wide = [unit_rms(h) if self.normalize else h for h in widen(sources)]
        products = outer_product([append_one(h) for h in wide])
        return wide_matmul(products, self.weight.T).to(sources[0].dtype)
