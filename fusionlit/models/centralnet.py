"""CentralNet: a central network that fuses every stage of one network per modality."""

from typing import cast

from torch import Tensor, nn

from fusionlit.encoders import EncoderFactory, HeadFactory, StagedEncoder
from fusionlit.errors import ConfigError
from fusionlit.functional import CENTRAL
from fusionlit.fusion import FusionOperator, WeightedSum, WeightForm
from fusionlit.models.base import FusionModule
from fusionlit.models.members import load_members
from fusionlit.models.parts import (
    apply_projections,
    make_encoder,
    make_encoders,
    make_head,
    make_heads,
    out_shapes,
    project,
    staged,
)
from fusionlit.models.presence import Imputation, MissingForm
from fusionlit.models.training import TrainingConfig
from fusionlit.tasks import TaskFactory
from fusionlit.types import Energy, FusionOutput, Modalities, Shape, TargetSpec


class CentralNet(FusionModule):
    """Fuse after every stage with learned weights, and train all networks together.

    With h_k[i] the output of stage i of modality k's encoder and f_i the stage of the central network (convolutional or
    dense), `h_C[i+1] = f_{i+1}(a_C[i] h_C[i] + sum_k a_k[i] h_k[i])`. The head of the central network predicts,
    `y = y_C`. The loss is `loss + sum_k b_k loss_k`, b_k = 1 by default. Layers are named `inputs`, `stage1`, ...,
    `stageN`; the central network's previous layer is the source `central`.

    The paper also fuses the predictions, in a last layer `prediction`: `y = a_C y_C + sum_k a_k y_k`, without
    activation (`fuse_predictions`). The central network is then trained only in proportion to its own weight; a
    unimodal head that memorises the training samples takes that weight, and the central network stops learning
    (docs/why_fusion_weights_barely_move.md). The paper's network is
    `weights="raw", source_norm=False, fuse_predictions=True`, trained with
    `TrainingConfig(fusion_lr_mult=1, fusion_held_out=0)`.

    A tenth of the training samples train only the fusion weights (`training.fusion_held_out`): the weights learn which
    source generalises to samples that the networks were not trained on, so that a source which only memorises gets no
    weight.

    Source: Vielzeuf et al., "CentralNet: a multilayer approach for multimodal fusion", 2018 (arXiv 1808.07275).

    Args:
        modalities: Spec or shape of each modality; linked from the data.
        target: Prediction target; linked from the data.
        encoder: Factory of staged encoders, for every modality and the central network; default: chosen by shape.
        encoders: Encoder factories by modality, instead of `encoder`; all with the same number of stages.
        central: Factory of the encoder whose stages form the central network, for the first modality's shape; default:
            `encoder`, or else that of the first modality.
        fuse_inputs: Whether the central network starts from the weighted sum of the inputs, which makes sense if they
            measure the same quantity; default: only if all are signals of the same shape.
        weights: Form of the fusion weights: `softmax`, `sigmoid`, or the paper's `raw`.
        source_norm: Scale each source to unit rms before the sum, at the feature layers (never for inputs and
            predictions).
        fuse_predictions: Also fuse the predictions of the central network and the modalities, as in the paper; default:
            the central network predicts.
        initial_weights: Initial fusion weight of each modality and of `central`, at every layer; default: equal.
        members: Checkpoint of a trained `Unimodal` for every modality, to initialise its network; all are trained
            further. Requires `encoder` or `central` for the central network, and replaces `encoders`. (A checkpoint of
            this model stores the members' configuration here, as JSON, so that it loads without their files.)
        head: Factory of the central and the unimodal heads; default: linear.
        task: Loss and metrics; default: those for the kind of target.
        training: Optimizer, scheduler, learning rate of the fusion weights, multi-task loss, modality dropout.
        normalize: Standardise each input channel with the statistics of the training split.
        missing: Replacement for a missing modality at every layer: `zero` leaves it out of the sums and renormalises
            the weights; `token` uses one learned token per modality and layer, which keeps its weight. (Predictions
            have no token: the head predicts from that of the last stage.)

    Raises:
        ConfigError: If the encoders are not staged or differ in their number of stages, inputs of different shapes are
            to be fused, or `members` or `initial_weights` do not fit.
    """

    default_unimodal_loss_weight = 1.0
    default_fusion_held_out = 0.1

    def __init__(
        self,
        modalities: Modalities,
        target: TargetSpec,
        encoder: EncoderFactory | None = None,
        encoders: dict[str, EncoderFactory] | None = None,
        central: EncoderFactory | None = None,
        fuse_inputs: bool | None = None,
        weights: WeightForm = "softmax",
        source_norm: bool = True,
        fuse_predictions: bool = False,
        initial_weights: dict[str, float] | None = None,
        members: dict[str, str] | None = None,
        head: HeadFactory | None = None,
        task: TaskFactory | None = None,
        training: TrainingConfig = TrainingConfig(),
        normalize: bool = True,
        missing: MissingForm = "zero",
    ) -> None:
        super().__init__(modalities, target, task, training, normalize)
        first, first_shape = next(iter(self.shapes.items()))
        if unknown := sorted(set(initial_weights or ()) - {CENTRAL, *self.modalities}):
            raise ConfigError(
                f"Expected `initial_weights` to name {CENTRAL!r} and the modalities {list(self.modalities)}, but got"
                f" {unknown}."
            )
        if members is not None:
            if encoders or not (encoder or central):
                raise ConfigError(
                    "Expected `members` with `encoder` or `central` for the central network, and without `encoders`."
                )
            self.encoders, self.heads, config = load_members(members, self)
            self.save_hyperparameters({"members": config})
        else:
            self.encoders = make_encoders(self.modalities, encoder, encoders)
            self.heads = make_heads(out_shapes(self.encoders), target.size, head)
        twins = staged(self.encoders, "CentralNet")
        depth = len(twins[first].stages)
        self.fuse_inputs = self._fuses_inputs(fuse_inputs)

        own = make_encoder(first_shape, central or encoder or (encoders or {}).get(first))
        own = staged(nn.ModuleDict({CENTRAL: own}), "CentralNet as `central`")[CENTRAL]
        if len(own.stages) != depth:
            raise ConfigError(
                f"Expected `central` to return an encoder with {depth} stages, like the others, but got"
                f" {len(own.stages)}."
            )
        # Without a sum of inputs, the central network's first stage has no input.
        self.central = nn.ModuleList(own.stages if self.fuse_inputs else own.stages[1:])
        self.central_head = make_head(own.out_shape, target.size, head)

        self.imputation = nn.ModuleDict()
        self.projections = nn.ModuleDict()
        self.fusions = nn.ModuleDict()
        if self.fuse_inputs:
            self.imputation["inputs"] = Imputation(self.shapes, missing)
            self.fusions["inputs"] = WeightedSum(self.shapes, weights, False, initial_weights)
        for i, shape in enumerate(own.stage_shapes):
            layer = f"stage{i + 1}"
            shapes = {name: encoder.stage_shapes[i] for name, encoder in twins.items()}
            self.imputation[layer] = Imputation(shapes, missing)
            self.projections[layer] = project(shapes, shape, layer)
            sources = [CENTRAL, *shapes] if self.fusions else list(shapes)
            self.fusions[layer] = WeightedSum(dict.fromkeys(sources, shape), weights, source_norm, initial_weights)
        self.fuse_predictions = fuse_predictions
        if fuse_predictions:
            predictions: dict[str, Shape] = dict.fromkeys([CENTRAL, *self.modalities], (target.size,))
            self.fusions["prediction"] = WeightedSum(predictions, weights, False, initial_weights)

    def fusion_layers(self) -> dict[str, FusionOperator]:
        """Layers from the inputs or the first stage to the last stage, or to the predictions if they are fused."""
        return cast(dict[str, FusionOperator], dict(self.fusions.items()))

    def fuse(self, inputs: dict[str, Tensor], presence: dict[str, Tensor] | None) -> FusionOutput:
        """Run the stages of all modalities and of the central network, and predict."""
        if presence is not None:
            anything = next(iter(presence.values()))
            presence = {CENTRAL: anything.new_ones(anything.shape), **presence}
        twins = cast(dict[str, StagedEncoder], dict(self.encoders.items()))
        energy: Energy = {}
        central: Tensor | None = None
        stages = iter(self.central)
        features, present = inputs, presence
        if self.fuse_inputs:
            sources, present = self.imputation["inputs"](inputs, presence)
            fused, energy = self.fuse_at("inputs", sources, present)
            central = next(stages)(fused)

        for i, (layer, projections) in enumerate(self.projections.items()):
            features = {name: encoder.stages[i](features[name]) for name, encoder in twins.items()}
            features, present = self.imputation[layer](features, presence)
            sources = apply_projections(cast(nn.ModuleDict, projections), features)
            if central is not None:
                sources[CENTRAL] = central
            central, measured = self.fuse_at(layer, sources, present)
            energy |= measured
            if (stage := next(stages, None)) is not None:
                central = stage(central)

        unimodal = {name: head(features[name]) for name, head in self.heads.items()}
        own = self.central_head(central)
        if not self.fuse_predictions:
            return FusionOutput(own, unimodal, energy)
        prediction, measured = self.fuse_at("prediction", {CENTRAL: own, **unimodal}, present)
        return FusionOutput(prediction, unimodal, energy | measured, central=own)

    def _fuses_inputs(self, asked: bool | None) -> bool:
        shapes, kinds = set(self.shapes.values()), {spec.kind for spec in self.modalities.values()}
        if asked and len(shapes) > 1:
            raise ConfigError(f"Expected inputs of equal shape for `fuse_inputs`, but got {self.shapes}.")
        if asked and "tokens" in kinds:
            raise ConfigError("Expected `fuse_inputs: false`, since tokens cannot be summed before embedding.")
        return len(shapes) == 1 and kinds == {"signal"} if asked is None else asked
