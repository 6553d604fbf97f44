"""On-the-fly gradient modulation."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fusionlit.errors import ConfigError
from fusionlit.functional import discrepancy_ratios, enhanced_gradient, ogm_coefficients, score_of_mean
from fusionlit.models.balance.base import Balance
from fusionlit.models.balance.encoders import check_whole_gradients, own_parameters
from fusionlit.models.balance.means import across_processes
from fusionlit.models.balance.scores import score_means
from fusionlit.tasks import BatchMean
from fusionlit.types import Batch, FusionOutput, Modalities

if TYPE_CHECKING:
    from fusionlit.models.base import FusionModule


class OGMGE(Balance):
    """OGM-GE: slow down the encoders of dominant modalities, and compensate with noise.

    At every step, with s_k the mean probability of the truth from modality k's unimodal head and
    `rho_k = s_k / mean_{j != k} s_j`, the gradients g of encoder k become `c_k g + e`: `c_k = 1 - tanh(alpha rho_k)`
    where `rho_k > 1`, else 1, and `e ~ N(0, std(g)^2)`. Logged per modality: the epoch's mean of c_k.

    Differences from the paper: scores come from unimodal heads, so that any fusion is possible, and the gradients are
    those of the whole loss, including unimodal losses. With more than two modalities, each is compared with the mean of
    the others. For regression, a score is the reciprocal of the mean squared error. Noise is added to every parameter
    with more than one entry; the authors' code selects the weights of 2D convolutions.

    Under DDP, scores are those of all processes; each process modulates its own gradients before averaging. With
    gradient accumulation, each batch is modulated separately; clipping comes afterwards. Half precision with scaled
    losses is supported.

    Source: Peng et al., "Balanced multimodal learning via on-the-fly gradient modulation", 2022 (arXiv 2203.15332).

    Args:
        modalities: Modalities; passed by the model.
        alpha: Strength of the modulation.
        noise: Whether to add the noise (GE).
        epochs: Number of initial epochs with modulation; default: all.

    Raises:
        ConfigError: If `alpha` is not above 0.
    """

    def __init__(
        self, modalities: Modalities, alpha: float = 0.3, noise: bool = True, epochs: int | None = None
    ) -> None:
        super().__init__(modalities)
        if not 0 < alpha < float("inf"):
            raise ConfigError(f"Expected `alpha` of OGMGE to be a number > 0, but got {alpha}.")
        self.alpha = alpha
        self.noise = noise
        self.epochs = epochs
        self._coefficients: Tensor | None = None

    def begin(self, model: FusionModule) -> None:
        """Check that there are encoders to modulate."""
        own_parameters(model, self.names, "OGMGE changes the gradients of")
        check_whole_gradients(model, "OGMGE changes")

    def loss(
        self, model: FusionModule, total: Tensor, parts: dict[str, BatchMean], output: FusionOutput, batch: Batch
    ) -> Tensor:
        """Return the loss unchanged; compute the coefficients."""
        self._coefficients = None
        if self.epochs is None or model.current_epoch < self.epochs:
            self.check_output(output)
            kind = model.target.kind
            means, counts = score_means(output, batch, kind, self.names)
            sums, counts = across_processes(torch.stack([means * counts, counts]))
            ratios = discrepancy_ratios(score_of_mean(sums / counts.clamp(min=1), kind), counts > 0)
            self._coefficients = ogm_coefficients(ratios, self.alpha)
            self.means.add(self._coefficients)
        return total

    def backward(self, loss: Tensor, model: FusionModule, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Backpropagate, modulating each gradient of an encoder before it is accumulated."""
        hooks = []
        if self._coefficients is not None:
            owned = own_parameters(model, self.names, "OGMGE changes the gradients of")
            for coefficient, parameters in zip(self._coefficients, owned.values(), strict=True):
                change = partial(_modulate, coefficient=coefficient, noise=self.noise)
                hooks += [parameter.register_hook(change) for parameter in parameters]  # type: ignore[no-untyped-call]
        try:
            super().backward(loss, model, *args, **kwargs)
        finally:
            for hook in hooks:
                hook.remove()


def _modulate(gradient: Tensor, coefficient: Tensor, noise: bool) -> Tensor:
    return enhanced_gradient(gradient, coefficient) if noise else gradient * coefficient
