"""Unimodal models: the baseline of every fusion model."""

from torch import Tensor

from fusionlit.encoders import EncoderFactory, HeadFactory
from fusionlit.errors import ConfigError
from fusionlit.models.base import FusionModule
from fusionlit.models.parts import check_tokens, make_encoder, make_head
from fusionlit.models.presence import Imputation, MissingForm
from fusionlit.models.training import TrainingConfig
from fusionlit.tasks import TaskFactory
from fusionlit.types import FusionOutput, Modalities, TargetSpec


class Unimodal(FusionModule):
    """Predict from a single modality: `y = head(encoder(x_m))`.

    Args:
        modalities: Spec or shape of each modality of the data; linked from the data.
        target: Prediction target; linked from the data.
        modality: The modality to use.
        encoder: Factory of the encoder; default: chosen by shape.
        head: Factory of the head; default: linear.
        task: Loss and metrics; default: those for the kind of target.
        training: Optimizer and scheduler. Modality dropout may drop this modality as long as the sample keeps another.
        normalize: Standardise each input channel with the statistics of the training split.
        missing: Replacement for the features if the modality is missing: `zero`, or `token`, a learned token.

    Raises:
        ConfigError: If the data has no such modality, or a unimodal loss is set.
    """

    def __init__(
        self,
        modalities: Modalities,
        target: TargetSpec,
        modality: str,
        encoder: EncoderFactory | None = None,
        head: HeadFactory | None = None,
        task: TaskFactory | None = None,
        training: TrainingConfig = TrainingConfig(),
        normalize: bool = True,
        missing: MissingForm = "zero",
    ) -> None:
        super().__init__(modalities, target, task, training, normalize)
        if modality not in modalities:
            raise ConfigError(f"Expected `modality` to be one of {list(modalities)}, but got {modality!r}.")
        if any(self.unimodal_weights.values()):
            raise ConfigError("Unimodal has a single head, that of its modality: leave out `unimodal_loss_weight`.")
        self.modality = modality
        spec = self.modalities[modality]
        if encoder is None:
            check_tokens({modality: spec})
        self.encoder = make_encoder(spec.shape, encoder)
        self.imputation = Imputation({modality: self.encoder.out_shape}, missing)
        self.head = make_head(self.encoder.out_shape, target.size, head)

    def fuse(self, inputs: dict[str, Tensor], presence: dict[str, Tensor] | None) -> FusionOutput:
        """Predict from the modality."""
        features, _ = self.imputation({self.modality: self.encoder(inputs[self.modality])}, presence)
        return FusionOutput(self.head(features[self.modality]))
