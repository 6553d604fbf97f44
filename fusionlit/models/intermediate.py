"""Intermediate fusion: each modality is encoded, and the features are fused."""

from torch import Tensor, nn

from fusionlit.contracts import check_output
from fusionlit.encoders import EncoderFactory, HeadFactory
from fusionlit.errors import ConfigError
from fusionlit.fusion import Concat, FusionFactory, FusionOperator
from fusionlit.models.base import FusionModule
from fusionlit.models.parts import (
    apply_projections,
    make_encoder,
    make_encoders,
    make_fusion,
    make_head,
    make_heads,
    out_shapes,
    staged,
)
from fusionlit.models.presence import Imputation, MissingForm
from fusionlit.models.training import TrainingConfig
from fusionlit.tasks import TaskFactory
from fusionlit.types import FusionOutput, Modalities, TargetSpec


class IntermediateFusion(FusionModule):
    """Fuse features: `y = head(trunk(fusion(encoder_1(x_1), ..., encoder_K(x_K))))`.

    Features are fused after the encoders or, with staged encoders, after a chosen stage. If the operator needs equal
    shapes and the features differ, learned projections map them to the shape of the first modality.

    Args:
        modalities: Spec or shape of each modality; linked from the data.
        target: Prediction target; linked from the data.
        encoder: Factory of each modality's encoder; default: chosen by shape.
        encoders: Encoder factories by modality, instead of `encoder`.
        stage: Fuse after this stage of the encoders, counted from 1; later stages are dropped. Default: the last.
        fusion: Factory of the fusion operator; default: `Concat`.
        trunk: Factory of a shared encoder after the fusion; default: none.
        head: Factory of the heads, for the fused and the unimodal features; default: linear.
        task: Loss and metrics; default: those for the kind of target.
        training: Optimizer, scheduler, learning rate of the fusion weights, multi-task loss, modality dropout.
        normalize: Standardise each input channel with the statistics of the training split.
        missing: Replacement for the features of a missing modality: `zero`, which the operator leaves out, or `token`,
            one learned token per modality, which is treated as present.

    Raises:
        ConfigError: If the encoders do not have this stage, or do not fit the modalities.
    """

    def __init__(
        self,
        modalities: Modalities,
        target: TargetSpec,
        encoder: EncoderFactory | None = None,
        encoders: dict[str, EncoderFactory] | None = None,
        stage: int | None = None,
        fusion: FusionFactory | None = None,
        trunk: EncoderFactory | None = None,
        head: HeadFactory | None = None,
        task: TaskFactory | None = None,
        training: TrainingConfig = TrainingConfig(),
        normalize: bool = True,
        missing: MissingForm = "zero",
    ) -> None:
        super().__init__(modalities, target, task, training, normalize)
        self.encoders = make_encoders(self.modalities, encoder, encoders)
        shapes = out_shapes(self.encoders)
        if stage is not None:
            by_stage = staged(self.encoders, "IntermediateFusion with `stage`")
            depth = min(len(e.stages) for e in by_stage.values())
            if not 1 <= stage <= depth:
                raise ConfigError(f"Expected `stage` to be from 1 to {depth}, the number of stages, but got {stage}.")
            shapes = {name: e.stage_shapes[stage - 1] for name, e in by_stage.items()}
            branches = {name: nn.Sequential(*e.stages[:stage]) for name, e in by_stage.items()}
            self.encoders = nn.ModuleDict(branches)
        self.imputation = Imputation(shapes, missing)
        self.projections, self.fusion = make_fusion(fusion or Concat, shapes)
        self.trunk = make_encoder(self.fusion.out_shape, trunk) if trunk else None
        self.head = make_head(self.trunk.out_shape if self.trunk else self.fusion.out_shape, target.size, head)
        asked = {name: shapes[name] for name, weight in self.unimodal_weights.items() if weight}
        self.unimodal_heads = make_heads(asked, target.size, head)

    def fusion_layers(self) -> dict[str, FusionOperator]:
        """The single layer, `fusion`."""
        return {"fusion": self.fusion}

    def fuse(self, inputs: dict[str, Tensor], presence: dict[str, Tensor] | None) -> FusionOutput:
        """Encode, fuse, predict."""
        features = {name: encoder(inputs[name]) for name, encoder in self.encoders.items()}
        features, presence = self.imputation(features, presence)
        unimodal = {name: head(features[name]) for name, head in self.unimodal_heads.items()}
        sources = apply_projections(self.projections, features)
        fused, energy = self.fuse_at("fusion", sources, presence)
        if self.trunk is not None:
            fused = self.trunk(fused)
            check_output("the trunk", fused, self.trunk.out_shape, "its `out_shape`")
        return FusionOutput(self.head(fused), unimodal, energy)
