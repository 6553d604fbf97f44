"""Early fusion: the inputs are joined before one shared encoder."""

import torch
from torch import Tensor

from fusionlit.encoders import EncoderFactory, HeadFactory
from fusionlit.fusion import Concat, FusionFactory, FusionOperator
from fusionlit.models.base import FusionModule
from fusionlit.models.parts import apply_projections, default_encoder, make_fusion, make_head
from fusionlit.models.training import Training
from fusionlit.tasks import TaskFactory
from fusionlit.types import FusionOutput, Shape, TargetSpec


class EarlyFusion(FusionModule):
    """Fuse the inputs, then encode them together: `y = head(encoder(fusion(x_1, ..., x_K)))`.

    There are no features of one modality alone; with a unimodal loss, the unimodal prediction of a modality is that of
    the same network when it sees zeros in place of all the others.

    Args:
        modalities: Shape of each modality; linked from the data.
        target: What is to be predicted; linked from the data.
        encoder: From the fused inputs' shape to the shared encoder; default: the one for that shape.
        fusion: From the inputs' shapes to the operator that joins them; default: `Concat`.
        head: From features to prediction; default: linear.
        task: Loss and metrics; default: the one for the target's kind.
        training: Optimizer, scheduler, rate of the fusion weights, multi-task loss.
        normalize: Standardise each input channel with the statistics of the training split.
    """

    def __init__(
        self,
        modalities: dict[str, Shape],
        target: TargetSpec,
        encoder: EncoderFactory | None = None,
        fusion: FusionFactory | None = None,
        head: HeadFactory | None = None,
        task: TaskFactory | None = None,
        training: Training = Training(),
        normalize: bool = True,
    ) -> None:
        super().__init__(modalities, target, task, training, normalize)
        self.projections, self.fusion = make_fusion(fusion or Concat, self.modalities, "inputs")
        self.encoder = (encoder or default_encoder)(self.fusion.out_shape)
        self.head = make_head(self.encoder.out_shape, target.size, head)

    def fusion_layers(self) -> dict[str, FusionOperator]:
        """The inputs are the one layer."""
        return {"inputs": self.fusion}

    def fuse(self, inputs: dict[str, Tensor], presence: dict[str, Tensor] | None) -> FusionOutput:
        """Join, encode, predict."""
        inputs = apply_projections(self.projections, inputs)
        energy = self.measure("inputs", self.fusion, inputs, presence)
        alone = [name for name, weight in self.unimodal_weights.items() if weight]
        if alone:
            # One batch and one call for all of them, so that batch normalisation has the same statistics in training
            # and in evaluation.
            inputs = {
                name: torch.cat([x, *(x if name == other else torch.zeros_like(x) for other in alone)])
                for name, x in inputs.items()
            }
            presence = presence and {name: there.repeat(1 + len(alone)) for name, there in presence.items()}
        together, *each = self.head(self.encoder(self.fusion(inputs, presence))).chunk(1 + len(alone))
        return FusionOutput(together, dict(zip(alone, each, strict=True)), energy)
