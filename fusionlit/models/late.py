"""Late fusion: each modality predicts, and the predictions are joined."""

from typing import cast

from torch import Tensor

from fusionlit.encoders import EncoderFactory, HeadFactory
from fusionlit.errors import ConfigError
from fusionlit.fusion import FusionFactory, FusionOperator, WeightedAverage
from fusionlit.models.base import FusionModule
from fusionlit.models.members import load_members
from fusionlit.models.normalization import InputNormalization
from fusionlit.models.parts import make_encoders, make_head, make_heads, make_operator, out_shapes
from fusionlit.models.presence import AbsentForm, StandIns
from fusionlit.models.training import Training
from fusionlit.tasks import TaskFactory
from fusionlit.types import FusionOutput, Modalities, Shape, TargetSpec


class LateFusion(FusionModule):
    """Fuse what one member a modality says: `y = joint(fusion(member_1(x_1), ..., member_K(x_K)))`.

    A member is an encoder and a head; it puts out a prediction, or a small embedding. Members are trained jointly, or
    loaded from checkpoints of `Unimodal` and frozen: with the mean of their predictions, that is the ensemble which
    every fusion must beat.

    Args:
        modalities: What each modality is; linked from the data.
        target: What is to be predicted; linked from the data.
        encoder: From a modality's shape to its encoder; default: the one for the shape.
        encoders: Encoders by modality, instead of `encoder`.
        head: From a member's features to its prediction or embedding; default: linear.
        embedding: Size of a member's embedding; default: members put out predictions.
        members: Checkpoint of a trained `Unimodal` for every modality, which is then frozen; instead of encoders and
            heads. (A checkpoint of this strategy has the members' configuration here, as JSON, so that it loads alone.)
        fusion: From the members' shapes to the operator; default: `WeightedAverage`.
        joint: From the fused shape to the final head; default: none where the operator makes a prediction of
            predictions (its `gives_prediction`: `WeightedAverage`, `DempsterShafer`, `Add` and others), else linear.
        task: Loss and metrics; default: the one for the target's kind.
        training: Optimizer, scheduler, rate of the fusion weights, multi-task loss, modality dropout.
        normalize: Standardise each input channel with the statistics of the training split.
        absent: What stands in for the features of a modality that a sample lacks: zeros, which the operator
            leaves out, or one learned token a modality, which counts as if it were there.

    Raises:
        ConfigError: If `members` does not fit the modalities or goes with arguments it replaces, or the operator cannot
            fuse predictions for this kind of target.
    """

    def __init__(
        self,
        modalities: Modalities,
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
        absent: AbsentForm = "zero",
    ) -> None:
        super().__init__(modalities, target, task, training, normalize)
        self.frozen = members is not None
        if members is not None:
            if encoder or encoders or head or embedding:
                raise ConfigError(
                    "Expected `members` without encoder, encoders, head and embedding, which it replaces."
                )
            self.encoders, self.heads, config = load_members(members, self)
            self.encoders.requires_grad_(False)
            self.heads.requires_grad_(False)
            for inputs in cast(dict[str, InputNormalization], dict(self.normalization.items())).values():
                inputs.fitted.fill_(True)  # a frozen member's inputs stay as they were
            self.save_hyperparameters({"members": config})
            shapes: dict[str, Shape] = dict.fromkeys(self.modalities, (target.size,))
        else:
            size = embedding or target.size
            self.encoders = make_encoders(self.modalities, encoder, encoders)
            self.heads = make_heads(out_shapes(self.encoders), size, head)
            shapes = dict.fromkeys(self.modalities, (size,))
        self.stand_ins = StandIns(out_shapes(self.encoders), absent)
        asked = [name for name, weight in self.unimodal_weights.items() if weight]
        self.unimodal_heads = make_heads({n: shapes[n] for n in asked}, target.size, None) if embedding else None
        self.fusion = make_operator(fusion or WeightedAverage, shapes)
        self.fusion.check_target(target)
        direct = joint is None and embedding is None and self.fusion.gives_prediction
        self.joint = None if direct else make_head(self.fusion.out_shape, target.size, joint)

    def fusion_layers(self) -> dict[str, FusionOperator]:
        """The predictions, or the embeddings, are the one layer."""
        return {"prediction" if self.unimodal_heads is None else "embedding": self.fusion}

    def fuse(self, inputs: dict[str, Tensor], presence: dict[str, Tensor] | None) -> FusionOutput:
        """Let each member predict, and join what they say."""
        features = {name: encoder(inputs[name]) for name, encoder in self.encoders.items()}
        features, presence = self.stand_ins(features, presence)
        said = {name: head(features[name]) for name, head in self.heads.items()}
        (layer,) = self.fusion_layers()
        prediction, energy = self.fuse_at(layer, said, presence)
        if self.joint is not None:
            prediction = self.joint(prediction)
        if self.unimodal_heads is None:
            unimodal = {name: said[name] for name, weight in self.unimodal_weights.items() if weight}
        else:
            unimodal = {name: head(said[name]) for name, head in self.unimodal_heads.items()}
        return FusionOutput(prediction, unimodal, energy)

    def on_train_start(self) -> None:
        """Let frozen members evaluate from the first step on: the trainer keeps modes, and never calls `train`."""
        super().on_train_start()
        self._evaluate_members()

    def train(self, mode: bool = True) -> "LateFusion":
        """Frozen members stay in evaluation mode: neither dropout nor running statistics touch them."""
        super().train(mode)
        self._evaluate_members()
        return self

    def _evaluate_members(self) -> None:
        if self.frozen:
            self.encoders.eval()
            self.heads.eval()
