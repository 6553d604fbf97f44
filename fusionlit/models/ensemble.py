"""Ensembles of trained fusion models."""

import json
from copy import deepcopy
from typing import cast

import torch
from torch import Tensor, nn

from fusionlit.errors import ConfigError
from fusionlit.functional import mixture_log_odds
from fusionlit.models.base import FusionModule
from fusionlit.models.members import load_any
from fusionlit.models.schema import check_schema, check_target
from fusionlit.types import FusionOutput, Modalities, TargetSpec


class Ensemble(FusionModule):
    """Mean of M trained fusion models: probabilities `p = 1/M sum_m p_m`, as logits, or values `y = 1/M sum_m y_m`.

    `p_m` are the probabilities of member m, with its temperature if one was fitted. The predictions of unimodal heads
    and of the central network are averaged in the same way if all members have them. Members keep their own input
    normalisation, are frozen, and stay in evaluation mode; there is nothing to train. The checkpoint contains all
    members and loads without their files.

    Loss and metrics are those of the first member's task, including its class weights. Fusion weights are averaged over
    the members. There are no contributions: the sums of the members differ in scale, so a mean of energies would be
    dominated by the largest.

    Args:
        modalities: Spec or shape of each modality; linked from the data.
        target: Prediction target; linked from the data.
        members: Checkpoint of each member, a fusion model of any class; not needed to load a checkpoint of the
            ensemble.

    Raises:
        ConfigError: If there are no members, or one is not a checkpoint or was trained for other data.
    """

    def __init__(self, modalities: Modalities, target: TargetSpec, members: list[str] | None = None) -> None:
        super().__init__(modalities, target, normalize=False)
        if not members:
            raise ConfigError(
                f"Expected `members` to name at least one checkpoint, but got {members}. To use a saved"
                " ensemble, give its --ckpt_path."
            )
        loaded = [load_any(member, f"members[{i}]") for i, member in enumerate(members)]
        for member, _ in loaded:
            check_schema(member.modalities, self.modalities)
            check_target(member.target, self.target)
        self.members = nn.ModuleList(member.requires_grad_(False) for member, _ in loaded)
        self.save_hyperparameters({"members": [json.dumps(config) for _, config in loaded]})
        self.set_task(deepcopy(loaded[0][0].task))
        if self.task.temperature is not None:
            self.task.temperature.reset()  # the members' temperatures are applied to their probabilities
        self.train(self.training)

    def fuse(self, inputs: dict[str, Tensor], presence: dict[str, Tensor] | None) -> FusionOutput:
        """Average the members' predictions."""
        outputs: list[FusionOutput] = [member(inputs, presence) for member in self.members]
        unimodal = {name: [o.unimodal[name] for o in outputs if name in o.unimodal] for name in self.modalities}
        central = [o.central for o in outputs if o.central is not None]
        return FusionOutput(
            self._mean([o.prediction for o in outputs]),
            {
                name: self._mean(predictions)
                for name, predictions in unimodal.items()
                if len(predictions) == len(outputs)
            },
            {},
            self._mean(central) if len(central) == len(outputs) else None,
        )

    def fusion_weights(self) -> dict[str, dict[str, Tensor]]:
        """Mean fusion weight of each source over the members, at the layers that all members have."""
        of_all = [member.fusion_weights() for member in self._strategies()]
        return {
            layer: {
                source: torch.stack([weights[layer][source] for weights in of_all]).mean(0)
                for source in sources
                if all(source in weights[layer] for weights in of_all)
            }
            for layer, sources in of_all[0].items()
            if all(layer in weights for weights in of_all)
        }

    def train(self, mode: bool = True) -> "Ensemble":
        """Set the mode, but keep the members in evaluation mode (no dropout, fixed running statistics)."""
        super().train(mode)
        self.members.eval()
        return self

    def _mean(self, predictions: list[Tensor]) -> Tensor:
        """Logits `(B, size)` of the members' mean probabilities, or the mean of their values."""
        if self.target.kind == "regression":
            return torch.stack(predictions).mean(0)
        temperatures = [member.task.temperature for member in self._strategies()]
        logits = torch.stack([z if t is None else t(z) for t, z in zip(temperatures, predictions, strict=True)])
        equal = logits.new_zeros(len(logits), 1, 1)
        log_odds = mixture_log_odds(logits, equal.log_softmax(0), exclusive=self.target.kind == "multiclass")
        return log_odds.to(predictions[0].dtype)

    def _strategies(self) -> list[FusionModule]:
        return cast(list[FusionModule], list(self.members))
