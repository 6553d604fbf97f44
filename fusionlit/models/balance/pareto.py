"""Pareto integration of the multimodal and the unimodal gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fusionlit.errors import ConfigError
from fusionlit.functional import pareto_gradient
from fusionlit.models.balance.base import Balance
from fusionlit.models.balance.encoders import check_whole_gradients, own_parameters
from fusionlit.tasks import BatchMean
from fusionlit.types import Batch, FusionOutput, Modalities

if TYPE_CHECKING:
    from fusionlit.models.base import FusionModule

WHY = "MMPareto changes the gradients of"


class MMPareto(Balance):
    """MMPareto: give each encoder a gradient that improves both the multimodal and its unimodal loss.

    With g_u the gradient of encoder k from its unimodal loss `b_k loss_k`, and g_m that from the rest of the loss, it
    becomes `gamma (2 w g_m + 2 (1 - w) g_u)`. If the two conflict, `g_m.g_u < 0`, w minimises the norm of this
    combination, which is rescaled to at least `|g_m + g_u|`; otherwise `w = 1/2`. All other parameters keep their
    gradients. Logged per modality: the share of the epoch's steps with a conflict.

    Differences from the paper: norms are those of an encoder's whole gradient, and the unimodal losses have weights
    b_k. It needs an additional backward pass through each unimodal head and its encoder.

    With gradient accumulation, each batch is combined separately; clipping comes afterwards. Half precision with scaled
    losses is supported. Not supported: several processes (the mean of combinations is not the combination of means) and
    `compile_mode` (a compiled graph allows only one backward pass).

    Source: Wei and Hu, "MMPareto: boosting multimodal learning with innocent unimodal assistance", 2024 (arXiv
    2405.17730).

    Args:
        modalities: Modalities; passed by the model.
        gamma: Factor of the encoders' gradients.

    Raises:
        ConfigError: If `gamma` is not above 0.
    """

    def __init__(self, modalities: Modalities, gamma: float = 1.5) -> None:
        super().__init__(modalities)
        if not 0 < gamma < float("inf"):
            raise ConfigError(f"Expected `gamma` of MMPareto to be a number > 0, but got {gamma}.")
        self.gamma = gamma
        self._unimodal: list[Tensor] = []

    def begin(self, model: FusionModule) -> None:
        """Check that there are encoders, and gradients that can be combined."""
        own_parameters(model, self.names, WHY)
        check_whole_gradients(model, "MMPareto changes")
        if model.trainer.world_size > 1:
            raise ConfigError(
                f"MMPareto trains in one process, but the trainer has {model.trainer.world_size}: set"
                " --trainer.devices 1."
            )
        if model.training_setup.compile_mode:
            raise ConfigError(
                "MMPareto needs two backward passes through one graph, which a compiled network does not allow: leave"
                " out `training.compile_mode`."
            )

    def loss(
        self, model: FusionModule, total: Tensor, parts: dict[str, BatchMean], output: FusionOutput, batch: Batch
    ) -> Tensor:
        """Return the loss unchanged; store its unimodal parts."""
        self.check_output(output)
        self._unimodal = [parts[f"unimodal_loss/{name}"].value for name in self.names]
        return total

    def backward(self, loss: Tensor, model: FusionModule, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Compute the unimodal gradients, then those of the whole loss; combine and accumulate them."""
        owned = own_parameters(model, self.names, WHY)
        unimodal, self._unimodal = self._unimodal, []
        # Factor of each loss in the trainer's: its weight, the scale of half precision, accumulation.
        scales = torch.autograd.grad(loss, unimodal, retain_graph=True)
        alone = [
            torch.autograd.grad(part, own, scale, retain_graph=True, materialize_grads=True)
            for part, own, scale in zip(unimodal, owned.values(), scales, strict=True)
        ]
        before = [[p.grad for p in own] for own in owned.values()]
        for own in owned.values():
            for parameter in own:
                parameter.grad = None
        super().backward(loss, model, *args, **kwargs)
        conflicts = []
        for own, uni, kept in zip(owned.values(), alone, before, strict=True):
            multi = [(torch.zeros_like(u) if p.grad is None else p.grad) - u for p, u in zip(own, uni, strict=True)]
            combined, _, conflict = pareto_gradient(multi, list(uni), self.gamma)
            conflicts.append(conflict)
            for parameter, gradient, sofar in zip(own, combined, kept, strict=True):
                gradient = gradient.to(parameter.dtype)
                parameter.grad = gradient if sofar is None else sofar + gradient
        self.means.add(torch.stack(conflicts).float())
