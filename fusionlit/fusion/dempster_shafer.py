"""Dempster-Shafer combination of predictions."""

from typing import ClassVar

from torch import Tensor
from torch.nn import functional as F

from fusionlit.functional import attention_shares, dempster_shafer, uncertainty
from fusionlit.fusion.base import Features, FusionOperator, Presence
from fusionlit.fusion.batch_weights import BatchWeights, presence_matrix
from fusionlit.fusion.predictions import as_prediction, check_one_of_several, check_predictions, class_logits
from fusionlit.types import Shape, TargetSpec


class DempsterShafer(FusionOperator):
    """Dempster-Shafer combination of predictions `(B, O)`: members with lower uncertainty count for more.

    A member's logits give evidence `e_ko = softplus(z_ko)` and so an opinion: belief `e_ko / S_k` in each class and
    uncertainty `O / S_k`, with `S_k = O + sum_o e_ko`. Dempster's rule combines all opinions
    (`functional.dempster_shafer`): `1 + e_o / O = prod_k (1 + e_ko / O)`, with Dirichlet parameters `alpha = 1 + e`.
    The output is `log(alpha_o / sum_j alpha_j)`: its softmax is the expected probability, and cross-entropy its
    negative log-likelihood.

    TMC uses a different loss: the expected cross-entropy under the Dirichlet distribution, of each member and of the
    combination, plus a KL penalty on evidence for the wrong classes. Here only the likelihood of the combination is
    trained, so the members' uncertainties are less constrained.

    A missing member has no evidence and changes nothing. A single logit z of a binary target is treated as two logits
    `(-z / 2, z / 2)`, and the output is the log-odds. `fusion_weights` are the members' shares of the total certainty
    `1 - O / S_k`, averaged over the last training batch.

    Source: Han et al., "Trusted multi-view classification", 2021 (arXiv 2102.02051).

    Args:
        shapes: Shape `(O,)` of each member's prediction.

    Raises:
        ShapeMismatchError: If the shapes differ.
        ConfigError: If the sources are not vectors.
    """

    gives_prediction: ClassVar[bool] = True

    def __init__(self, shapes: dict[str, Shape]) -> None:
        super().__init__(shapes)
        check_predictions("DempsterShafer", self.shapes)
        self._out_shape = self.common_shape()
        self.batch_weights = BatchWeights(self.shapes)

    @property
    def out_shape(self) -> Shape:
        """Shape of each prediction."""
        return self._out_shape

    def forward(self, features: Features, presence: Presence | None = None) -> Tensor:
        """Combine the predictions."""
        members = self.fill_missing(features, presence, value=0.0)
        logits = class_logits(members)
        there = presence_matrix(self.shapes, presence, members[0])
        evidence = F.softplus(logits) * there.T[..., None]
        self.batch_weights.update(attention_shares(1 - uncertainty(evidence.detach()).T, there), there)
        return as_prediction(dempster_shafer(evidence).log_softmax(-1), members[0])

    def fusion_weights(self) -> dict[str, Tensor]:
        """Share of each member in the total certainty over the last training batch, a scalar."""
        return self.batch_weights.mean_weights()

    def check_target(self, target: TargetSpec) -> None:
        """Raise ConfigError unless the target is multiclass or binary."""
        check_one_of_several("DempsterShafer", target)
