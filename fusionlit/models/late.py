"""Late fusion: each modality predicts, and the predictions are fused."""

from typing import cast

from torch import Tensor

from fusionlit.encoders import EncoderFactory, HeadFactory
from fusionlit.errors import ConfigError
from fusionlit.fusion import FusionFactory, FusionOperator, WeightedAverage
from fusionlit.models.base import FusionModule
from fusionlit.models.members import load_members
from fusionlit.models.normalization import InputNormalization
from fusionlit.models.parts import make_encoders, make_head, make_heads, make_operator, out_shapes
from fusionlit.models.presence import Imputation, MissingForm
from fusionlit.models.training import TrainingConfig
from fusionlit.tasks import TaskFactory
from fusionlit.types import FusionOutput, Modalities, Shape, TargetSpec


class LateFusion(FusionModule):
    """Fuse the outputs of one member per modality: `y = joint(fusion(member_1(x_1), ..., member_K(x_K)))`.

    A member is an encoder and a head; its output is a prediction or a small embedding. Members are trained jointly, or
    loaded from checkpoints of `Unimodal` and frozen: the mean of their predictions is then the ensemble of unimodal
    models, the baseline of every fusion.

    Args:
        modalities: Spec or shape of each modality; linked from the data.
        target: Prediction target; linked from the data.
        encoder: Factory of each modality's encoder; default: chosen by shape.
        encoders: Encoder factories by modality, instead of `encoder`.
        head: Factory of each member's head; default: linear.
        embedding: Size of each member's embedding; default: members output predictions.
        members: Checkpoint of a trained `Unimodal` for every modality, which is then frozen; replaces encoders and
            heads. (A checkpoint of this model stores the members' configuration here, as JSON, so that it loads without
            their files.)
        fusion: Factory of the fusion operator; default: `WeightedAverage`.
        joint: Factory of the final head; default: none if the operator fuses predictions into a prediction
            (`gives_prediction`: `WeightedAverage`, `DempsterShafer`, `Add` and others), else linear.
        task: Loss and metrics; default: those for the kind of target.
        training: Optimizer, scheduler, learning rate of the fusion weights, multi-task loss, modality dropout.
        normalize: Standardise each input channel with the statistics of the training split.
        missing: Replacement for the features of a missing modality: `zero`, which the operator leaves out, or `token`,
            one learned token per modality, which is treated as present.

    Raises:
        ConfigError: If `members` does not fit the modalities or is combined with arguments that it replaces, or the
            operator cannot fuse predictions of this kind of target.
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
        training: TrainingConfig = TrainingConfig(),
        normalize: bool = True,
        missing: MissingForm = "zero",
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
                inputs.fitted.fill_(True)  # frozen members keep their input statistics
            self.save_hyperparameters({"members": config})
            shapes: dict[str, Shape] = dict.fromkeys(self.modalities, (target.size,))
        else:
            size = embedding or target.size
            self.encoders = make_encoders(self.modalities, encoder, encoders)
            self.heads = make_heads(out_shapes(self.encoders), size, head)
            shapes = dict.fromkeys(self.modalities, (size,))
        self.imputation = Imputation(out_shapes(self.encoders), missing)
        asked = [name for name, weight in self.unimodal_weights.items() if weight]
        self.unimodal_heads = make_heads({n: shapes[n] for n in asked}, target.size, None) if embedding else None
        self.fusion = make_operator(fusion or WeightedAverage, shapes)
        self.fusion.check_target(target)
        direct = joint is None and embedding is None and self.fusion.gives_prediction
        self.joint = None if direct else make_head(self.fusion.out_shape, target.size, joint)

    def fusion_layers(self) -> dict[str, FusionOperator]:
        """The single layer, `prediction` or `embedding`."""
        return {"prediction" if self.unimodal_heads is None else "embedding": self.fusion}

    def fuse(self, inputs: dict[str, Tensor], presence: dict[str, Tensor] | None) -> FusionOutput:
        """Run the members and fuse their outputs."""
        features = {name: encoder(inputs[name]) for name, encoder in self.encoders.items()}
        features, presence = self.imputation(features, presence)
        outputs = {name: head(features[name]) for name, head in self.heads.items()}
        (layer,) = self.fusion_layers()
        prediction, energy = self.fuse_at(layer, outputs, presence)
        if self.joint is not None:
            prediction = self.joint(prediction)
        if self.unimodal_heads is None:
            unimodal = {name: outputs[name] for name, weight in self.unimodal_weights.items() if weight}
        else:
            unimodal = {name: head(outputs[name]) for name, head in self.unimodal_heads.items()}
        return FusionOutput(prediction, unimodal, energy)

    def on_train_start(self) -> None:
        """Put frozen members in evaluation mode, since the trainer does not call `train`."""
        super().on_train_start()
        self._evaluate_members()

    def train(self, mode: bool = True) -> "LateFusion":
        """Set the mode, but keep frozen members in evaluation mode (no dropout, fixed running statistics)."""
        super().train(mode)
        self._evaluate_members()
        return self

    def _evaluate_members(self) -> None:
        if self.frozen:
            self.encoders.eval()
            self.heads.eval()
