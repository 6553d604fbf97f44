"""Adaptive masking of dominant modalities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fusionlit.errors import ConfigError
from fusionlit.functional import discrepancy_ratios, mask_probabilities, score_of_mean
from fusionlit.models.balance.base import Balance
from fusionlit.models.balance.scores import score_means
from fusionlit.tasks import BatchMean
from fusionlit.types import Batch, FusionOutput, Modalities

if TYPE_CHECKING:
    from fusionlit.models.base import FusionModule


class AMCo(Balance):
    """AMCo: mask dominant modalities of training samples, so that the others are learned.

    After every epoch, with s_k the mean probability of the truth from modality k's unimodal head and
    `rho_k = s_k / mean_{j != k} s_j`, modality k of a sample is masked in the next epoch with probability `p_k =
    maximum sin(pi min(t / growing_epochs, 1) / 2) tanh(alpha max(rho_k - 1,
    0))` with t the number of epochs so far, or that of `modality_dropout` if it is larger. The unimodal losses are
    still trained (co-optimisation). Logged per modality: p_k.

    Differences from the paper, which masks a growing number of features of every modality whose share of the prediction
    is above a threshold: here whole modalities of single samples are masked, like missing ones; the probability depends
    on the lead of the modality; and a masked sample is left out of that modality's unimodal loss, which is a mean over
    the others. A sample never loses all of its modalities.

    Source: Zhou et al., "Adaptive mask co-optimization for modal dependence in multimodal learning", 2023 (ICASSP).

    Args:
        modalities: Modalities; passed by the model.
        alpha: How fast the probability grows with the lead.
        maximum: Upper bound of the probability.
        growing_epochs: Epochs until the probability reaches its full value.

    Raises:
        ConfigError: If an argument is out of range.
    """

    def __init__(
        self, modalities: Modalities, alpha: float = 1.0, maximum: float = 0.5, growing_epochs: int = 5
    ) -> None:
        super().__init__(modalities)
        if not 0 < alpha < float("inf"):
            raise ConfigError(f"Expected `alpha` of AMCo to be a number > 0, but got {alpha}.")
        if not 0 <= maximum < 1:
            raise ConfigError(f"Expected `maximum` of AMCo to be in [0, 1), but got {maximum}.")
        if growing_epochs < 1:
            raise ConfigError(f"Expected `growing_epochs` of AMCo to be at least 1, but got {growing_epochs}.")
        self.alpha = alpha
        self.maximum = maximum
        self.growing_epochs = growing_epochs
        self.probabilities = dict.fromkeys(self.names, 0.0)

    def loss(
        self, model: FusionModule, total: Tensor, parts: dict[str, BatchMean], output: FusionOutput, batch: Batch
    ) -> Tensor:
        """Return the loss unchanged; accumulate the scores."""
        self.check_output(output)
        self.means.add(*score_means(output, batch, model.target.kind, self.names))
        return total

    def drop_probabilities(self, given: dict[str, float]) -> dict[str, float]:
        """The larger of the probabilities from the last epoch and the given ones."""
        return {name: max(p, self.probabilities[name]) for name, p in given.items()}

    def update(self, model: FusionModule) -> None:
        """Update the probabilities from the scores of the epoch."""
        means = self.means.take()
        scores = score_of_mean(torch.tensor([means.get(name, 0.0) for name in self.names]), model.target.kind)
        ratios = discrepancy_ratios(scores, torch.tensor([name in means for name in self.names]))
        progress = (model.current_epoch + 1) / self.growing_epochs
        masked = mask_probabilities(ratios, self.alpha, self.maximum, progress).tolist()
        self.probabilities = dict(zip(self.names, masked, strict=True))
        self.numbers = dict(self.probabilities)

    def state(self) -> dict[str, Any]:
        """The probabilities."""
        return {"probabilities": dict(self.probabilities)}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore the probabilities."""
        self.probabilities = dict(state["probabilities"])
        self.numbers = dict(self.probabilities)
