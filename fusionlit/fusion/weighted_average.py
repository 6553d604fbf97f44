"""Weighted average of predictions."""

from collections.abc import Iterable
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from fusionlit.errors import ConfigError
from fusionlit.functional import mean_square, mixture_log_odds, renormalize
from fusionlit.fusion.base import Features, FusionOperator, Presence
from fusionlit.types import Shape, TargetSpec


class WeightedAverage(FusionOperator):
    """Average of predictions with learned softmax weights: `out = sum_k softmax(w)_k p_k`, `(B, O)`.

    `of="logits"` averages the members' outputs (also regression values). `of="probabilities"` mixes their probabilities
    and returns the logits of the mixture, so that the usual loss on logits is the mixture's negative log-likelihood. If
    members are missing, the weights of the others are renormalised.

    Args:
        shapes: Shape `(O,)` of each member's prediction.
        of: What to average.
        per_output: Learn one weight per member and output instead of one per member.
        learned: Whether the weights are trained; False gives the plain mean.
        exclusive: With `of="probabilities"`, whether the outputs are mutually exclusive classes (softmax) or
            independent labels (sigmoid; always used for a single output).

    Raises:
        ShapeMismatchError: If the shapes differ.
        ConfigError: If the sources are not vectors, or `of` is invalid.
    """

    gives_prediction: ClassVar[bool] = True

    def __init__(
        self,
        shapes: dict[str, Shape],
        of: Literal["logits", "probabilities"] = "logits",
        per_output: bool = False,
        learned: bool = True,
        exclusive: bool = True,
    ) -> None:
        super().__init__(shapes)
        self._out_shape = self.common_shape()
        if len(self._out_shape) != 1:
            raise ConfigError(f"Expected the sources of WeightedAverage to be predictions (O,), but got {self.shapes}.")
        if of not in ("logits", "probabilities"):
            raise ConfigError(f"Expected `of` to be 'logits' or 'probabilities', but got {of!r}.")
        self.of = of
        self.exclusive = exclusive and self._out_shape[0] > 1
        self.weight = nn.Parameter(
            torch.zeros(len(shapes), self._out_shape[0] if per_output else 1), requires_grad=learned
        )

    @property
    def out_shape(self) -> Shape:
        """Shape of each prediction."""
        return self._out_shape

    def forward(self, features: Features, presence: Presence | None = None) -> Tensor:
        """Average the predictions."""
        members = self._members(features, presence)
        weights = self._weights(presence)
        if self.of == "logits":
            return (weights * members).sum(0)
        # Clamping keeps the gradient finite where a missing member has weight zero.
        log_weights = weights.clamp(min=torch.finfo(weights.dtype).tiny).log()
        return mixture_log_odds(members, log_weights, exclusive=self.exclusive)

    def fusion_weights(self) -> dict[str, Tensor]:
        """Weight of each member: a scalar, or `(O,)` with `per_output`."""
        return dict(zip(self.shapes, self.weight.softmax(0).squeeze(1), strict=True))

    def fusion_parameters(self) -> Iterable[nn.Parameter]:
        """The parameter `w`."""
        return (self.weight,)

    def energy(self, features: Features, presence: Presence | None = None) -> dict[str, Tensor]:
        """Mean square of each member's weighted logits or probabilities (for labels: of both outcomes)."""
        members = self._members(features, presence)
        weights = self._weights(presence)
        if self.of == "probabilities":
            both = [members.sigmoid(), (-members).sigmoid()]
            members = members.softmax(-1) if self.exclusive else torch.cat(both, dim=-1)
            weights = weights if self.exclusive or weights.shape[-1] == 1 else weights.repeat(1, 1, 2)
        return {source: mean_square(term) for source, term in zip(self.shapes, weights * members, strict=True)}

    def check_target(self, target: TargetSpec) -> None:
        """Raise ConfigError if `of` and `exclusive` do not fit the target."""
        if self.of == "probabilities" and (
            target.kind == "regression" or self.exclusive != (target.kind == "multiclass")
        ):
            raise ConfigError(
                f"Expected `of` and `exclusive` of WeightedAverage to fit a {target.kind!r} target, but got"
                f" of='probabilities', exclusive={self.exclusive}: use of='logits' for regression, exclusive=False"
                " for multilabel."
            )

    def _members(self, features: Features, presence: Presence | None) -> Tensor:
        """Predictions `(K, B, O)`, in at least the weights' dtype: half precision loses the log-odds of a mixture."""
        members = torch.stack(self.fill_missing(features, presence, value=0.0))
        return members.to(torch.promote_types(members.dtype, self.weight.dtype))

    def _weights(self, presence: Presence | None) -> Tensor:
        """Weights `(K, 1 or B, 1 or O)`."""
        weights = self.weight.softmax(0)
        if presence is None:
            return weights[:, None]
        there = torch.stack([presence[source] for source in self.shapes], dim=1)
        columns = [renormalize(column, there, positive=True) for column in weights.unbind(1)]
        return torch.stack(columns, dim=-1).transpose(0, 1)
