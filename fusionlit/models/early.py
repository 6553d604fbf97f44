"""Early fusion: the inputs are joined before one shared encoder."""

import torch
from torch import Tensor

from fusionlit.contracts import check_output
from fusionlit.encoders import EncoderFactory, HeadFactory
from fusionlit.errors import ConfigError
from fusionlit.fusion import Concat, Features, FusionFactory, FusionOperator, Presence
from fusionlit.models.base import FusionModule
from fusionlit.models.parts import apply_projections, make_encoder, make_fusion, make_head
from fusionlit.models.presence import AbsentForm, StandIns, complete
from fusionlit.models.training import Training
from fusionlit.tasks import TaskFactory
from fusionlit.types import FusionOutput, Modalities, TargetSpec


class EarlyFusion(FusionModule):
    """Fuse the inputs, then encode them together: `y = head(encoder(fusion(x_1, ..., x_K)))`.

    There are no features of one modality alone; with a unimodal loss, the unimodal prediction of a modality is that of
    the same network when all the others are absent.

    Args:
        modalities: What each modality is; linked from the data.
        target: What is to be predicted; linked from the data.
        encoder: From the fused inputs' shape to the shared encoder; default: the one for that shape.
        fusion: From the inputs' shapes to the operator that joins them; default: `Concat`.
        head: From features to prediction; default: linear.
        task: Loss and metrics; default: the one for the target's kind.
        training: Optimizer, scheduler, rate of the fusion weights, multi-task loss, modality dropout.
        normalize: Standardise each input channel with the statistics of the training split.
        absent: What stands in for the input of a modality that a sample lacks: zeros, which the operator
            leaves out, or one learned token per modality, which counts as if it were there.

    Raises:
        ConfigError: If an input is tokens.
    """

    def __init__(
        self,
        modalities: Modalities,
        target: TargetSpec,
        encoder: EncoderFactory | None = None,
        fusion: FusionFactory | None = None,
        head: HeadFactory | None = None,
        task: TaskFactory | None = None,
        training: Training = Training(),
        normalize: bool = True,
        absent: AbsentForm = "zero",
    ) -> None:
        super().__init__(modalities, target, task, training, normalize)
        if tokens := [name for name, spec in self.modalities.items() if spec.whole_numbers]:
            raise ConfigError(
                f"Expected inputs that can be joined before they are encoded, but {tokens} are tokens. Take"
                " IntermediateFusion or LateFusion, with an encoder that embeds them in `encoders`."
            )
        self.stand_ins = StandIns(self.shapes, absent)
        self.projections, self.fusion = make_fusion(fusion or Concat, self.shapes, "inputs")
        self.encoder = make_encoder(self.fusion.out_shape, encoder)
        self.head = make_head(self.encoder.out_shape, target.size, head)

    def fusion_layers(self) -> dict[str, FusionOperator]:
        """The inputs are the one layer."""
        return {"inputs": self.fusion}

    def fuse(self, inputs: dict[str, Tensor], presence: dict[str, Tensor] | None) -> FusionOutput:
        """Join, encode, predict."""
        samples = next(iter(inputs.values())).shape[0]
        alone = [name for name, weight in self.unimodal_weights.items() if weight]
        if alone:
            inputs, presence = with_each_alone(inputs, presence, alone)
        sources, presence = self.stand_ins(inputs, presence)
        sources = apply_projections(self.projections, sources)
        batch, copies = (
            ({name: x[part] for name, x in sources.items()}, presence and {n: x[part] for n, x in presence.items()})
            for part in (slice(samples), slice(samples, None))
        )
        fused_alone = [self.fusion(*copies)] if alone else []
        fused, energy = self.fuse_at("inputs", *batch)  # second: weights that an operator tells are the batch's
        features = self.encoder(torch.cat([fused, *fused_alone]))
        check_output("the shared encoder", features, self.encoder.out_shape, "its `out_shape`")
        together, *each = self.head(features).chunk(1 + len(alone))
        return FusionOutput(together, dict(zip(alone, each, strict=True)), energy)


def with_each_alone(inputs: Features, presence: Presence | None, alone: list[str]) -> tuple[Features, Presence]:
    """The batch, and behind it, for each of `alone`, a copy in which all other modalities are absent.

    One batch and one call for all of them, so that batch normalisation has the same statistics in training and in
    evaluation. In its own copy a modality counts as present in every sample, so that no operator is left without any
    source; the loss leaves out the samples that lack it.
    """
    presence = {
        name: torch.cat([there, *(torch.full_like(there, name == other) for other in alone)])
        for name, there in complete(presence, inputs).items()
    }
    return {name: torch.cat([x] * (1 + len(alone))) for name, x in inputs.items()}, presence
