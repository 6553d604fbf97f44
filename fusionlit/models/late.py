"""Late fusion: each modality predicts, and the predictions are joined."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from lightning.pytorch.cli import instantiate_module
from torch import Tensor, nn

from fusionlit.encoders import EncoderFactory, HeadFactory
from fusionlit.errors import ConfigError
from fusionlit.fusion import FusionFactory, FusionOperator, WeightedAverage
from fusionlit.models.base import FusionModule, check_schema, check_target
from fusionlit.models.normalization import InputNormalization
from fusionlit.models.parts import make_encoders, make_head, make_heads, out_shapes, zero_absent
from fusionlit.models.training import Training
from fusionlit.models.unimodal import Unimodal
from fusionlit.tasks import TaskFactory
from fusionlit.types import FusionOutput, Shape, TargetSpec


class LateFusion(FusionModule):
    """Fuse what one member a modality says: `y = joint(fusion(member_1(x_1), ..., member_K(x_K)))`.

    A member is an encoder and a head; it puts out a prediction, or a small embedding. Members are trained jointly, or
    loaded from checkpoints of `Unimodal` and frozen: with the mean of their predictions, that is the ensemble which
    every fusion must beat.

    Args:
        modalities: Shape of each modality; linked from the data.
        target: What is to be predicted; linked from the data.
        encoder: From a modality's shape to its encoder; default: the one for the shape.
        encoders: Encoders by modality, instead of `encoder`.
        head: From a member's features to its prediction or embedding; default: linear.
        embedding: Size of a member's embedding; default: members put out predictions.
        members: Checkpoint of a trained `Unimodal` for every modality, which is then frozen; instead of encoders and
            heads. (A checkpoint of this strategy has the members' configuration here, as JSON, so that it loads alone.)
        fusion: From the members' shapes to the operator; default: `WeightedAverage`.
        joint: From the fused shape to the final head; default: none where the operator gives the prediction itself
            (`WeightedAverage`, `Add` of predictions), else linear.
        task: Loss and metrics; default: the one for the target's kind.
        training: Optimizer, scheduler, rate of the fusion weights, multi-task loss.
        normalize: Standardise each input channel with the statistics of the training split.

    Raises:
        ConfigError: If `members` does not fit the modalities or goes with arguments it replaces, or probabilities of
            another kind of target are to be averaged.
    """

    def __init__(
        self,
        modalities: dict[str, Shape],
        target: TargetSpec,
        encoder: EncoderFactory | None = None,
        encoders: dict[str, EncoderFactory] | None = None,
        head: HeadFactory | None = None,
        embedding: int | None = None,
        members: dict[str, str] | None = None,
        fusion: FusionFactory | None = None,
        joint: HeadFactory | None = None,
        task: TaskFactory | None = None,
        training: Training = Training(),
        normalize: bool = True,
    ) -> None:
        super().__init__(modalities, target, task, training, normalize)
        self.frozen = members is not None
        if members is not None:
            if encoder or encoders or head or embedding:
                raise ConfigError(
                    "Expected `members` without encoder, encoders, head and embedding, which it replaces."
                )
            self._take_members(members)
            shapes: dict[str, Shape] = dict.fromkeys(self.modalities, (target.size,))
        else:
            size = embedding or target.size
            self.encoders = make_encoders(self.modalities, encoder, encoders)
            self.heads = make_heads(out_shapes(self.encoders), size, head)
            shapes = dict.fromkeys(self.modalities, (size,))
        asked = [name for name, weight in self.unimodal_weights.items() if weight]
        self.unimodal_heads = make_heads({n: shapes[n] for n in asked}, target.size, None) if embedding else None
        self.fusion = (fusion or WeightedAverage)(shapes)
        self._check_probabilities()
        direct = joint is None and embedding is None and self.fusion.out_shape == (target.size,)
        self.joint = None if direct else make_head(self.fusion.out_shape, target.size, joint)

    def fusion_layers(self) -> dict[str, FusionOperator]:
        """The predictions, or the embeddings, are the one layer."""
        return {"prediction" if self.unimodal_heads is None else "embedding": self.fusion}

    def fuse(self, inputs: dict[str, Tensor], presence: dict[str, Tensor] | None) -> FusionOutput:
        """Let each member predict, and join what they say."""
        features = zero_absent({name: encoder(inputs[name]) for name, encoder in self.encoders.items()}, presence)
        said = {name: head(features[name]) for name, head in self.heads.items()}
        prediction = self.fusion(said, presence)
        if self.joint is not None:
            prediction = self.joint(prediction)
        if self.unimodal_heads is None:
            unimodal = {name: said[name] for name, weight in self.unimodal_weights.items() if weight}
        else:
            unimodal = {name: head(said[name]) for name, head in self.unimodal_heads.items()}
        layer = next(iter(self.fusion_layers()))
        return FusionOutput(prediction, unimodal, self.measure(layer, self.fusion, said, presence))

    def train(self, mode: bool = True) -> "LateFusion":
        """Frozen members stay in evaluation mode: neither dropout nor running statistics touch them."""
        super().train(mode)
        if self.frozen:
            self.encoders.eval()
            self.heads.eval()
        return self

    def _take_members(self, members: Mapping[str, str]) -> None:
        if set(members) != set(self.modalities):
            raise ConfigError(
                f"Expected `members` to name every modality, {list(self.modalities)}, but got {list(members)}."
            )
        loaded = {name: load_member(members[name], name) for name in self.modalities}
        unimodal = {name: member for name, (member, _) in loaded.items()}
        for name, member in unimodal.items():
            own = {name: member.modalities[name]} if name in member.modalities else member.modalities
            check_schema(own, {name: self.modalities[name]})
            check_target(member.target, self.target)
            if member.modality != name:
                raise ConfigError(
                    f"Expected member {name!r} to predict from {name!r}, but its checkpoint predicts from"
                    f" {member.modality!r}."
                )
            if bool(member.normalization) != bool(self.normalization):
                raise ConfigError(
                    f"Expected `normalize` to be {bool(member.normalization)}, as member {name!r} was trained with, but"
                    f" got {bool(self.normalization)}."
                )
            if self.normalization:
                inputs = cast(InputNormalization, self.normalization[name])
                inputs.load_state_dict(member.normalization[name].state_dict())
                inputs.fitted.fill_(True)  # the member is frozen, and so is what it takes
        self.encoders = nn.ModuleDict({name: member.encoder for name, member in unimodal.items()}).requires_grad_(False)
        self.heads = nn.ModuleDict({name: member.head for name, member in unimodal.items()}).requires_grad_(False)
        self.save_hyperparameters({"members": {name: json.dumps(config) for name, (_, config) in loaded.items()}})

    def _check_probabilities(self) -> None:
        fusion, kind = self.fusion, self.target.kind
        if not isinstance(fusion, WeightedAverage) or fusion.of != "probabilities":
            return
        if kind == "regression" or fusion.exclusive != (kind == "multiclass"):
            raise ConfigError(
                f"Expected `of` and `exclusive` of WeightedAverage to fit a {kind!r} target, but got"
                f" of='probabilities', exclusive={fusion.exclusive}: use of='logits' for regression, exclusive=False"
                " for multilabel."
            )


def load_member(member: str, name: str) -> tuple[Unimodal, dict[str, Any]]:
    """A `Unimodal` from its checkpoint or, without weights, from its own configuration; and that configuration.

    Raises:
        ConfigError: If there is no such file, or it is no checkpoint of `Unimodal`.
    """
    if member.startswith("{"):
        config = json.loads(member)
        return instantiate_module(Unimodal, {k: v for k, v in config.items() if not k.startswith("_")}), config
    if not Path(member).is_file():
        raise ConfigError(f"Expected `members.{name}` to be a checkpoint of Unimodal, but there is no file {member}.")
    config = torch.load(member, weights_only=True, map_location="cpu")["hyper_parameters"]
    saved = config.get("_class_path", "")
    if not saved.endswith(".Unimodal"):
        raise ConfigError(f"Expected `members.{name}` to be a checkpoint of Unimodal, but {member} is one of {saved}.")
    return Unimodal.load_from_checkpoint(member, map_location="cpu"), config
