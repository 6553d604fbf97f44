"""Weighted sum with learned scalars, as in CentralNet."""

from collections.abc import Iterable
from functools import reduce
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from fusionlit.errors import ConfigError
from fusionlit.functional import inverse_rms, mean_square, per_sample, renormalize
from fusionlit.fusion.base import Features, FusionOperator, Presence
from fusionlit.types import Shape

WeightForm = Literal["softmax", "raw", "sigmoid"]


class WeightedSum(FusionOperator):
    """Sum of the sources, each with one learned scalar: `out = sum_k a_k h_k`, `(B, *shape)`.

    The fusion weights are `a = softmax(w)`, `a = w` ("raw", as in the paper) or `a = sigmoid(w)`. With `source_norm`,
    each source is scaled to unit rms per sample before the sum: the contribution is then proportional to `|a_k|`, and
    the symmetry (a, W) -> (s a, W / s), which leaves raw weights almost undetermined, is removed. If sources are
    missing, the weights of the others are renormalised (`functional.renormalize`).

    Source: Vielzeuf et al., "CentralNet: a multilayer approach for multimodal fusion", 2018 (arXiv 1808.07275).

    Args:
        shapes: Shape of each source; all must be equal.
        weights: Form of the fusion weights.
        source_norm: Scale each source to unit rms before the sum; turn off for predictions, where it would bound the
            logits.
        initial: Initial fusion weight of each source; default: 1 / K each. With a softmax they are scaled to sum to
            one.

    Raises:
        ShapeMismatchError: If the shapes differ.
        ConfigError: If `weights` is not a `WeightForm`, or `initial` omits a source or has values outside the form's
            range.
    """

    gives_prediction: ClassVar[bool] = True

    def __init__(
        self,
        shapes: dict[str, Shape],
        weights: WeightForm = "softmax",
        source_norm: bool = True,
        initial: dict[str, float] | None = None,
    ) -> None:
        super().__init__(shapes)
        self._out_shape = self.common_shape()
        self.form = weights
        self.source_norm = source_norm
        missing = [source for source in shapes if initial is not None and source not in initial]
        if missing:
            raise ConfigError(f"Expected `initial` to give a weight for every source, but {missing} are missing.")
        share = torch.tensor([1 / len(shapes) if initial is None else initial[source] for source in shapes])
        self.weight = nn.Parameter(parameter_of(weights, share))

    @property
    def out_shape(self) -> Shape:
        """Shape of each source."""
        return self._out_shape

    def alpha(self) -> Tensor:
        """Fusion weights `(K,)`, in the order of the sources."""
        if self.form == "softmax":
            return self.weight.softmax(0)
        return self.weight.sigmoid() if self.form == "sigmoid" else self.weight

    def forward(self, features: Features, presence: Presence | None = None) -> Tensor:
        """Add the weighted sources."""
        return reduce(torch.add, self._weighted(features, presence).values())

    def fusion_weights(self) -> dict[str, Tensor]:
        """`a_k` of each source, a scalar."""
        return dict(zip(self.shapes, self.alpha(), strict=True))

    def fusion_parameters(self) -> Iterable[nn.Parameter]:
        """The parameter `w`."""
        return (self.weight,)

    def energy(self, features: Features, presence: Presence | None = None) -> dict[str, Tensor]:
        """Mean square of each `a_k h_k`."""
        return {source: mean_square(term) for source, term in self._weighted(features, presence).items()}

    def _weighted(self, features: Features, presence: Presence | None) -> Features:
        sources = dict(zip(self.shapes, self.fill_missing(features, presence, value=0.0), strict=True))
        weights = [per_sample(a, x) for a, x in zip(self._alphas(presence), sources.values(), strict=True)]
        if self.source_norm:  # one factor per sample is cheaper than scaling all features first
            weights = [a * inverse_rms(x) for a, x in zip(weights, sources.values(), strict=True)]
        return {source: (a * x).to(x.dtype) for a, (source, x) in zip(weights, sources.items(), strict=True)}

    def _alphas(self, presence: Presence | None) -> tuple[Tensor, ...]:
        """Weight of each source: `(1,)`, or `(B,)` with `presence`."""
        if presence is None:
            return self.alpha()[:, None].unbind()
        there = torch.stack([presence[source] for source in self.shapes], dim=1)
        return renormalize(self.alpha(), there, positive=self.form != "raw").unbind(1)


def parameter_of(form: WeightForm, alpha: Tensor) -> Tensor:
    """Parameters `(K,)` that give the fusion weights `alpha` `(K,)`.

    A softmax preserves only their ratios; for a sigmoid, 1 (the default of a single source) is replaced by 1 / 2.

    Raises:
        ConfigError: If `form` is not a `WeightForm`, or `alpha` is outside its range.
    """
    if form not in get_args(WeightForm):
        raise ConfigError(f"Expected `weights` to be one of {get_args(WeightForm)}, but got {form!r}.")
    if not alpha.isfinite().all():
        raise ConfigError(f"Expected finite initial weights, but got {alpha.tolist()}.")
    if form == "raw":
        return alpha
    if (alpha <= 0).any() or (form == "sigmoid" and (alpha > 1).any()):
        raise ConfigError(f"Expected the initial weights of a {form} to be in (0, 1), but got {alpha.tolist()}.")
    return alpha.log() - alpha.log().mean() if form == "softmax" else torch.logit(torch.where(alpha == 1, 0.5, alpha))
