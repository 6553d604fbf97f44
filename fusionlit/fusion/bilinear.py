"""Bilinear pooling."""

import math

import torch
from torch import Tensor, nn

from fusionlit.functional import bilinear_pool, low_rank_product, unit_rms, wide_matmul, widen
from fusionlit.fusion.base import Features, FusionOperator, Presence, ShapeMismatchError
from fusionlit.fusion.sizes import check_positive, check_weights
from fusionlit.types import Shape


class Bilinear(FusionOperator):
    """Bilinear pooling: products of the sources' channels at each position, averaged over positions.

    For vectors, or for maps and sequences on the same grid; `(B, d_k, *grid)` to `(B, o)`, h_k scaled to unit rms:

    - full: `out_o = mean_p W[o] . (h_1[p] x ... x h_K[p])`, with `W` `(o, d_1, ..., d_K)`;
    - factorised, with `rank=r`: `out = mean_p 1 / sqrt(r) sum_i prod_k (U_k[i]^T h_k[p])`, with `U_k` `(r, d_k, o)`.

    The course's notebooks call this matrix multiplication: for two maps, the sum over positions is the matrix product
    `H_1^T H_2` of their (positions, channels) matrices. Weights are initialised N(0, 1 / prod_k d_k), factors N(0, 1 /
    d_k): for vectors, the output has unit variance at initialisation; for maps, less, down to `1 / P` for P independent
    positions. No 1 is appended, so there are no lower-order terms.

    A missing source is replaced by ones, which keep the scale: by a vector of ones (unit rms) in the full form; by ones
    after its projection in the factorised form, which leaves the product of the others. Computed in at least float32,
    even under autocast, and returned in the dtype of the sources.

    Sources: Lin et al., "Bilinear CNN models for fine-grained visual recognition", 2015 (arXiv 1504.07889); Kim et al.,
    "Hadamard product for low-rank bilinear pooling", 2017 (arXiv 1610.04325).

    Args:
        shapes: Shape `(d_k, *grid)` of each source.
        out_features: Number of fused features, o.
        rank: Number of terms of the factorised form, r; None: the full form.
        max_elements: Maximum number of weights of the full form; the default is 128 MiB of float32.

    Raises:
        ShapeMismatchError: If the grids differ.
        ConfigError: If a size is not positive, or the full form exceeds `max_elements`.
    """

    def __init__(
        self, shapes: dict[str, Shape], out_features: int = 64, rank: int | None = None, max_elements: int = 2**25
    ) -> None:
        super().__init__(shapes)
        if len({shape[1:] for shape in shapes.values()}) > 1:
            raise ShapeMismatchError("Bilinear", "the same dimensions after the channels", self.shapes)
        check_positive("Bilinear", out_features=out_features, rank=1 if rank is None else rank)
        sizes = {source: shape[0] for source, shape in self.shapes.items()}
        self.weight = None
        self.factors = nn.ParameterDict()
        if rank is None:
            check_weights("Bilinear", list(sizes.values()), out_features, max_elements, instead="the form with `rank`")
            weight = torch.randn(out_features, *sizes.values()) / math.sqrt(math.prod(sizes.values()))
            self.weight = nn.Parameter(weight)
        else:
            for source, size in sizes.items():
                self.factors[source] = nn.Parameter(torch.randn(size, rank, out_features) / math.sqrt(size))
            self._scale = 1 / math.sqrt(rank)
        self._out_shape = (out_features,)

    @property
    def out_shape(self) -> Shape:
        """`(out_features,)`."""
        return self._out_shape

    def forward(self, features: Features, presence: Presence | None = None) -> Tensor:
        """Multiply the channels at each position and average over positions."""
        sources = self.fill_missing(features, presence, value=1.0)
        # (B, d, *grid) to (B, positions, d); a vector has one position.
        positions = [unit_rms(h).unsqueeze(-1).flatten(2).mT for h in widen(sources)]
        if self.weight is not None:
            out = wide_matmul(bilinear_pool(positions), self.weight.flatten(1).T)
        else:
            factors = [self.factors[source] for source in self.shapes]
            there = None if presence is None else [presence[source][:, None, None] for source in self.shapes]
            out = low_rank_product(positions, factors, presence=there).mean(1) * self._scale
        return out.to(sources[0].dtype)
