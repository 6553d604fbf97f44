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
    """OGM-GE: slow down the encoders of the modalities that are ahead, and make up for it with noise.

    At every step, with s_k the mean probability of the truth by modality k's unimodal head and `rho_k = s_k / mean_{j
    != k} s_j`, the gradients g of encoder k become `c_k g + e`: `c_k = 1 - tanh(alpha rho_k)` where `rho_k > 1`, else
    1, and `e ~ N(0, std(g)^2)`. Logged per modality: the epoch's mean of c_k.

    Where it differs from the paper: scores come from the unimodal heads, so that any fusion will do, and the gradients
    are those of the whole loss, the unimodal ones included. With more than two modalities each is compared with the
    mean of the others. For regression a score is the reciprocal of the mean squared error. Noise goes to every
    parameter of more than one entry, where the authors' code chooses weights of 2D convolutions.

    Under DDP scores are those of all processes; each modulates its own gradients before they are averaged. Gradient
    accumulation modulates batch by batch; clipping comes after. Half precision with scaled losses is all the same.

    Source: Peng et al., "Balanced multimodal learning via on-the-fly gradient modulation", 2022 (arXiv 2203.15332).

    Args:
        modalities: What each modality is; given by the strategy.
        alpha: How strongly what is ahead is slowed down.
        noise: Whether to add the noise (GE).
        epochs: Modulate in the first so many epochs only; default: in all.

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
        """Look whether there are encoders to slow down."""
        own_parameters(model, self.names, "OGMGE changes the gradients of")
        check_whole_gradients(model, "OGMGE changes")

    def loss(
        self, model: FusionModule, total: Tensor, parts: dict[str, BatchMean], output: FusionOutput, batch: Batch
    ) -> Tensor:
        """The same loss; find out which modality is ahead."""
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
        """Change each gradient of an encoder as it comes, before it is added to what is there."""
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
