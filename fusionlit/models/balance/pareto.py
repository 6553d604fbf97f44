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
    """MMPareto: give each encoder a gradient that serves the multimodal and its unimodal loss alike.

    With g_u the gradient of encoder k from its own unimodal loss `b_k loss_k`, and g_m that from all the rest of the
    loss: `gamma (2 w g_m + 2 (1 - w) g_u)`. Where the two conflict, `g_m.g_u < 0`, w makes this combination the
    shortest, and it is lengthened to `|g_m + g_u|`; else `w = 1/2`. All other parameters keep their gradients. Logged
    per modality: the share of the epoch's steps in which the two conflicted.

    Where it differs from the paper: lengths are those of an encoder's whole gradient, and the unimodal losses have
    their weights b_k. It needs one more backward pass through each unimodal head and its encoder.

    Gradient accumulation combines batch by batch; clipping comes after. Half precision with scaled losses is all the
    same. Refused: several processes (the average of combinations is not the combination of averages) and
    `compile_mode` (a compiled graph is gone after one backward pass).

    Source: Wei and Hu, "MMPareto: boosting multimodal learning with innocent unimodal assistance", 2024 (arXiv
    2405.17730).

    Args:
        modalities: What each modality is; given by the strategy.
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
        """Look whether there are encoders, and gradients to combine."""
        own_parameters(model, self.names, WHY)
        check_whole_gradients(model, "MMPareto changes")
        if model.trainer.world_size > 1:
            raise ConfigError(
                f"MMPareto trains in one process, but the trainer has {model.trainer.world_size}: set"
                " --trainer.devices 1."
            )
        if model.training_setup.compile_mode:
            raise ConfigError(
                "MMPareto takes two backward passes through one graph, which a compiled network does not allow: leave"
                " out `training.compile_mode`."
            )

    def loss(
        self, model: FusionModule, total: Tensor, parts: dict[str, BatchMean], output: FusionOutput, batch: Batch
    ) -> Tensor:
        """The same loss; keep its unimodal parts."""
        self.check_output(output)
        self._unimodal = [parts[f"unimodal_loss/{name}"].value for name in self.names]
        return total

    def backward(self, loss: Tensor, model: FusionModule, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Take the unimodal gradients first, then all; combine, and add to what was accumulated."""
        owned = own_parameters(model, self.names, WHY)
        unimodal, self._unimodal = self._unimodal, []
        # What each loss counts in the trainer's: its weight, the scale of half precision, accumulation.
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
