"""Average of predictions, weighted by their energy scores."""

from typing import ClassVar

import torch
from torch import Tensor

from fusionlit.errors import ConfigError
from fusionlit.functional import energy_log_weights, mean_square, mixture_log_odds
from fusionlit.fusion.base import Features, FusionOperator, Presence
from fusionlit.fusion.batch_weights import BatchWeights, presence_matrix
from fusionlit.fusion.predictions import as_prediction, check_one_of_several, check_predictions, class_logits
from fusionlit.types import Shape, TargetSpec


class EnergyWeightedAverage(FusionOperator):
    """Mixture of the members' probabilities, in which a member with lower energy counts for more, `(B, O)`.

    `out = log sum_k w_k softmax(z_k)`, `w = softmax_k(-E_k / T)`, with the energy score
    `E_k = -T logsumexp_o(z_ko / T)` per sample. The softmax of the output is the mixture, so cross-entropy is its
    negative log-likelihood. At `T = 1` the output is `logsumexp_k z_ko` up to a constant.

    The energy is that of QMF; the rest differs. QMF adds logits, `sum_k (a E_k + b) z_k`, with weights that are not
    normalised, may be negative, and receive no gradient; a ranking loss on each sample's history orders them. Here the
    weights are positive, sum to one, and are trained by the prediction loss alone; there is no ranking loss.

    Missing members get weight zero. A single logit z of a binary target is treated as two logits `(-z / 2, z / 2)`, and
    the output is the log-odds. `fusion_weights` are the mean weights over the last training batch.

    Source: Zhang et al., "Provable dynamic fusion for low-quality multimodal data", 2023 (arXiv 2306.02050).

    Args:
        shapes: Shape `(O,)` of each member's prediction.
        temperature: T; towards zero only the most confident member counts, towards infinity all count equally.

    Raises:
        ShapeMismatchError: If the shapes differ.
        ConfigError: If the sources are not vectors, or `temperature` is not positive.
    """

    gives_prediction: ClassVar[bool] = True

    def __init__(self, shapes: dict[str, Shape], temperature: float = 1.0) -> None:
        super().__init__(shapes)
        check_predictions("EnergyWeightedAverage", self.shapes)
        self._out_shape = self.common_shape()
        if not 0 < temperature < float("inf"):
            raise ConfigError(
                f"Expected `temperature` of EnergyWeightedAverage to be a finite number above 0, but got {temperature}."
            )
        self.temperature = temperature
        self.batch_weights = BatchWeights(self.shapes)

    @property
    def out_shape(self) -> Shape:
        """Shape of each prediction."""
        return self._out_shape

    def forward(self, features: Features, presence: Presence | None = None) -> Tensor:
        """Mix the probabilities."""
        members = self.fill_missing(features, presence, value=0.0)
        logits, log_weights = self._weigh(members, presence)
        there = presence_matrix(self.shapes, presence, members[0])
        self.batch_weights.update(log_weights.exp(), there)
        mixture = mixture_log_odds(logits, log_weights.T[..., None], exclusive=True)
        return as_prediction(mixture, members[0])

    def fusion_weights(self) -> dict[str, Tensor]:
        """Mean weight of each member over the last training batch, a scalar."""
        return self.batch_weights.mean_weights()

    def energy(self, features: Features, presence: Presence | None = None) -> dict[str, Tensor]:
        """Mean square of each member's weighted probabilities."""
        logits, log_weights = self._weigh(self.fill_missing(features, presence, value=0.0), presence)
        terms = log_weights.exp().T[..., None] * logits.softmax(-1)
        return {source: mean_square(term) for source, term in zip(self.shapes, terms, strict=True)}

    def check_target(self, target: TargetSpec) -> None:
        """Raise ConfigError unless the target is multiclass or binary."""
        check_one_of_several("EnergyWeightedAverage", target)

    def _weigh(self, members: list[Tensor], presence: Presence | None) -> tuple[Tensor, Tensor]:
        """Logits `(K, B, O)` and log-weights `(B, K)`."""
        logits = class_logits(members)
        there = None if presence is None else torch.stack([presence[source] for source in self.shapes], dim=1)
        return logits, energy_log_weights(logits, self.temperature, there)
