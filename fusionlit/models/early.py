"""Early fusion: the inputs are fused before a shared encoder."""

import torch
from torch import Tensor

from fusionlit.contracts import check_output
from fusionlit.encoders import EncoderFactory, HeadFactory
from fusionlit.errors import ConfigError
from fusionlit.fusion import Concat, Features, FusionFactory, FusionOperator, Presence
from fusionlit.models.base import FusionModule
from fusionlit.models.parts import apply_projections, make_encoder, make_fusion, make_head
from fusionlit.models.presence import Imputation, MissingForm, complete
from fusionlit.models.training import TrainingConfig
from fusionlit.tasks import TaskFactory
from fusionlit.types import FusionOutput, Modalities, TargetSpec


class EarlyFusion(FusionModule):
    """Fuse the inputs, then encode them together: `y = head(encoder(fusion(x_1, ..., x_K)))`.

    There are no unimodal features; with a unimodal loss, the unimodal prediction of a modality is that of the same
    network with all other modalities missing.

    Args:
        modalities: Spec or shape of each modality; linked from the data.
        target: Prediction target; linked from the data.
        encoder: Factory of the shared encoder; default: chosen by the shape of the fused inputs.
        fusion: Factory of the fusion operator; default: `Concat`.
        head: Factory of the head; default: linear.
        task: Loss and metrics; default: those for the kind of target.
        training: Optimizer, scheduler, learning rate of the fusion weights, multi-task loss, modality dropout.
        normalize: Standardise each input channel with the statistics of the training split.
        missing: Replacement for a missing input: `zero`, which the operator leaves out, or `token`, one learned token
            per modality, which is treated as present.

    Raises:
        ConfigError: If a modality is tokens.
    """

    def __init__(
        self,
        modalities: Modalities,
        target: TargetSpec,
        encoder: EncoderFactory | None = None,
        fusion: FusionFactory | None = None,
        head: HeadFactory | None = None,
        task: TaskFactory | None = None,
        training: TrainingConfig = TrainingConfig(),
        normalize: bool = True,
        missing: MissingForm = "zero",
    ) -> None:
        super().__init__(modalities, target, task, training, normalize)
        if tokens := [name for name, spec in self.modalities.items() if spec.whole_numbers]:
            raise ConfigError(
                f"Expected inputs that can be fused before encoding, but {tokens} are tokens. Use"
                " IntermediateFusion or LateFusion, with an encoder that embeds them in `encoders`."
            )
        self.imputation = Imputation(self.shapes, missing)
        self.projections, self.fusion = make_fusion(fusion or Concat, self.shapes, "inputs")
        self.encoder = make_encoder(self.fusion.out_shape, encoder)
        self.head = make_head(self.encoder.out_shape, target.size, head)

    def fusion_layers(self) -> dict[str, FusionOperator]:
        """The single layer, `inputs`."""
        return {"inputs": self.fusion}

    def fuse(self, inputs: dict[str, Tensor], presence: dict[str, Tensor] | None) -> FusionOutput:
        """Fuse, encode, predict."""
        samples = next(iter(inputs.values())).shape[0]
        alone = [name for name, weight in self.unimodal_weights.items() if weight]
        if alone:
            inputs, presence = with_each_alone(inputs, presence, alone)
        sources, presence = self.imputation(inputs, presence)
        sources = apply_projections(self.projections, sources)
        batch, copies = (
            ({name: x[part] for name, x in sources.items()}, presence and {n: x[part] for n, x in presence.items()})
            for part in (slice(samples), slice(samples, None))
        )
        fused_alone = [self.fusion(*copies)] if alone else []
        # After the copies, so that stored batch weights are of the batch itself.
        fused, energy = self.fuse_at("inputs", *batch)
        features = self.encoder(torch.cat([fused, *fused_alone]))
        check_output("the shared encoder", features, self.encoder.out_shape, "its `out_shape`")
        together, *each = self.head(features).chunk(1 + len(alone))
        return FusionOutput(together, dict(zip(alone, each, strict=True)), energy)


def with_each_alone(inputs: Features, presence: Presence | None, alone: list[str]) -> tuple[Features, Presence]:
    """The batch followed by one copy per name in `alone`, in which all other modalities are missing.

    A single batch, so that batch normalisation has the same statistics in training and in evaluation. In its own copy,
    a modality counts as present in every sample, so that the operator always has a source; the loss leaves out the
    samples without it.
    """
    presence = {
        name: torch.cat([there, *(torch.full_like(there, name == other) for other in alone)])
        for name, there in complete(presence, inputs).items()
    }
    return {name: torch.cat([x] * (1 + len(alone))) for name, x in inputs.items()}, presence
