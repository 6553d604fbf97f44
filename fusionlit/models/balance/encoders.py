"""Access to the encoders of a fusion model, for balances that change their gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from torch import nn

from fusionlit.errors import ConfigError

if TYPE_CHECKING:
    from fusionlit.models.base import FusionModule


def own_encoders(model: FusionModule, names: list[str], why: str) -> dict[str, nn.Module]:
    """Encoder of each modality, `model.encoders[name]`.

    Raises:
        ConfigError: If a modality has none.
    """
    encoders = getattr(model, "encoders", None)
    found = dict(encoders.items()) if isinstance(encoders, nn.ModuleDict) else {}
    without = [name for name in names if name not in found]
    if without:
        raise ConfigError(
            f"{why} each modality's own encoder, `encoders[name]`, but {type(model).__name__} has none for {without}:"
            " choose a fusion model such as IntermediateFusion, LateFusion or CentralNet."
        )
    return {name: found[name] for name in names}


def own_parameters(model: FusionModule, names: list[str], why: str) -> dict[str, list[nn.Parameter]]:
    """Trainable parameters of each modality's encoder.

    Raises:
        ConfigError: If an encoder is missing or has no trainable parameters.
    """
    encoders = own_encoders(model, names, why)
    parameters = {name: [p for p in encoder.parameters() if p.requires_grad] for name, encoder in encoders.items()}
    frozen = [name for name, own in parameters.items() if not own]
    if frozen:
        raise ConfigError(f"{why} each modality's own encoder, but nothing is trainable in those of {frozen}.")
    return parameters


def check_whole_gradients(model: FusionModule, why: str) -> None:
    """Check that the trainer's strategy does not split parameters over devices or call `backward` itself.

    Raises:
        ConfigError: If the strategy is neither single-device nor DDP.
    """
    strategy = model.trainer.strategy
    if not isinstance(strategy, SingleDeviceStrategy | DDPStrategy):
        raise ConfigError(
            f"{why} gradients, which {type(strategy).__name__} shards: train on one device or with"
            " --trainer.strategy ddp."
        )
