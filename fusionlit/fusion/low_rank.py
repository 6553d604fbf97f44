"""Low-rank fusion."""

import math

import torch
from torch import Tensor, nn

from fusionlit.functional import append_one, low_rank_product, unit_rms, widen
from fusionlit.fusion.base import Features, FusionOperator, Presence
from fusionlit.fusion.sizes import check_positive, initial_std, vector_sizes
from fusionlit.types import Shape


class LowRankFusion(FusionOperator):
    """Tensor fusion with a low-rank weight tensor: `out = 1 / sqrt(r) sum_i prod_m (W_m[i]^T [h_m; 1])`.

    `(B, d_m)` to `(B, o)`, with `r o sum_m (d_m + 1)` parameters, where tensor fusion has `o prod_m (d_m + 1)`. The
    factors `W_m` `(d_m + 1, r, o)` are initialised N(0, 1 / (2 d_m)), their last row N(0, 1 / 2), so that the output
    has unit variance at initialisation for any number of sources. The appended 1 keeps lower-order terms: a missing
    source becomes `[0; 1]`, which leaves the products of the others with learned constants, and half of their variance
    at initialisation. Computed in at least float32, even under autocast, and returned in the dtype of the sources. Why
    the sum is taken after the product: `docs/low_rank_fusion.md`.

    Source: Liu et al., "Efficient low-rank multimodal fusion with modality-specific factors", 2018 (arXiv 1806.00064),
    equation 8.

    Args:
        shapes: Shape `(d_m,)` of each source.
        out_features: Number of fused features, o.
        rank: Number of terms, r.
        normalize: Scale each source to unit rms before the 1 is appended; the initial output scale assumes it.
        rank_weights: Learn a weight for each term and a bias, as the authors' code does.

    Raises:
        ConfigError: If a source is not a vector, or a size is not positive.
    """

    def __init__(
        self,
        shapes: dict[str, Shape],
        out_features: int = 64,
        rank: int = 4,
        normalize: bool = True,
        rank_weights: bool = False,
    ) -> None:
        super().__init__(shapes)
        check_positive("LowRankFusion", out_features=out_features, rank=rank)
        self.normalize = normalize
        self.factors = nn.ParameterDict()
        for source, size in vector_sizes("LowRankFusion", self.shapes).items():
            self.factors[source] = nn.Parameter(
                torch.randn(size + 1, rank, out_features) * initial_std(size)[:, None, None]
            )
        self.rank_weight = nn.Parameter(torch.ones(rank)) if rank_weights else None
        self.bias = nn.Parameter(torch.zeros(out_features)) if rank_weights else None
        self._scale = 1 / math.sqrt(rank)
        self._out_shape = (out_features,)

    @property
    def out_shape(self) -> Shape:
        """`(out_features,)`."""
        return self._out_shape

    def forward(self, features: Features, presence: Presence | None = None) -> Tensor:
        """Project each source for each rank, multiply over the sources, add over the ranks."""
        sources = self.fill_missing(features, presence, value=0.0)
        wide = [unit_rms(h) if self.normalize else h for h in widen(sources)]
        factors = [self.factors[source] for source in self.shapes]
        out = low_rank_product([append_one(h) for h in wide], factors, self.rank_weight) * self._scale
        return (out if self.bias is None else out + self.bias).to(sources[0].dtype)
