"""The gated multimodal unit."""

import torch
from torch import Tensor, nn

from fusionlit.functional import gated_terms, gates, mean_square
from fusionlit.fusion.base import Features, FusionOperator, Presence, ShapeMismatchError
from fusionlit.fusion.batch_weights import BatchWeights, presence_matrix
from fusionlit.fusion.sizes import check_positive
from fusionlit.types import Shape


class GatedFusion(FusionOperator):
    """Gated multimodal unit: gates computed from the input control how much of each source passes.

    `out = sum_k z_k * tanh(W_k h_k)`, `z_k = sigmoid(V_k [h_1; ...; h_K])`, `(B, C_k, *grid)` to `(B, O, *grid)`. `W_k`
    and `V_k` act on the channels, with the same weights at each position, and are initialised N(0, 1 / fan-in). Two
    sources share one gate, `z` and `1 - z`, as in the paper; otherwise each source has its own.

    A missing source is replaced by zeros and its gate is zero; the other gates are renormalised per feature
    (`functional.gates`). With two sources the present one passes unattenuated; with three or more a renormalised gate
    may exceed one. `fusion_weights` are the mean gates over the last training batch: over features, positions, and the
    samples that have the source.

    Source: Arevalo et al., "Gated multimodal units for information fusion", 2017 (arXiv 1702.01992).

    Args:
        shapes: Shape of each source; the channels may differ.
        out_features: Output channels or features, O; default: those of the widest source.

    Raises:
        ShapeMismatchError: If the grids differ.
        ConfigError: If `out_features` is not positive.
    """

    def __init__(self, shapes: dict[str, Shape], out_features: int | None = None) -> None:
        super().__init__(shapes)
        grids = {shape[1:] for shape in self.shapes.values()}
        if len(grids) > 1:
            raise ShapeMismatchError("GatedFusion", "the same dimensions after the first", self.shapes)
        channels = [shape[0] for shape in self.shapes.values()]
        out = max(channels) if out_features is None else out_features
        check_positive("GatedFusion", out_features=out)
        self._out_shape = (out, *grids.pop())
        self.tied = len(channels) == 2
        self.values = nn.ModuleList(nn.Linear(size, out, bias=False) for size in channels)
        self.gate = nn.Linear(sum(channels), out * (1 if self.tied else len(channels)), bias=False)
        for linear in (*self.values, self.gate):
            nn.init.kaiming_normal_(linear.weight, nonlinearity="linear")
        self.batch_weights = BatchWeights(self.shapes)

    @property
    def out_shape(self) -> Shape:
        """`(out_features, *grid)`."""
        return self._out_shape

    def forward(self, features: Features, presence: Presence | None = None) -> Tensor:
        """Add the gated sources."""
        terms, z = self._gated(features, presence)
        self.batch_weights.update(z.flatten(2).mean(2), presence_matrix(self.shapes, presence, z))
        return terms.sum(1)

    def fusion_weights(self) -> dict[str, Tensor]:
        """Mean gate of each source over the last training batch, a scalar."""
        return self.batch_weights.mean_weights()

    def energy(self, features: Features, presence: Presence | None = None) -> dict[str, Tensor]:
        """Mean square of each gated source."""
        terms, _ = self._gated(features, presence)
        return dict(zip(self.shapes, map(mean_square, terms.unbind(1)), strict=True))

    def _gated(self, features: Features, presence: Presence | None) -> tuple[Tensor, Tensor]:
        """Gated sources and their gates, both `(B, K, O, *grid)`."""
        sources = self.fill_missing(features, presence, value=0.0)
        logits = _along_channels(self.gate, torch.cat(sources, dim=1))
        logits = torch.cat([logits, -logits], dim=1) if self.tied else logits  # sigmoid(-x) = 1 - sigmoid(x)
        logits = logits.reshape(logits.shape[0], len(sources), *self._out_shape)
        z = gates(logits, None if presence is None else presence_matrix(self.shapes, presence, logits))
        values = [_along_channels(linear, x) for linear, x in zip(self.values, sources, strict=True)]
        return gated_terms(torch.stack(values, dim=1), z), z


def _along_channels(linear: nn.Module, x: Tensor) -> Tensor:
    """Apply a linear map at every position: `(B, C, *grid)` to `(B, O, *grid)`."""
    out: Tensor = linear(x.movedim(1, -1))
    return out.movedim(-1, 1)
