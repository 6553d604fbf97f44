"""Torchvision classification networks as encoders."""

import difflib
import inspect
from pathlib import Path
from typing import get_type_hints

import torch
from torch import Tensor, nn
from torch.nn.utils import convert_conv2d_weight_memory_format
from torchvision import models

from fusionlit.encoders.base import Encoder
from fusionlit.encoders.weights import load_weights
from fusionlit.errors import ConfigError
from fusionlit.types import Shape


class TorchvisionEncoder(Encoder):
    """A torchvision classification network without its classifier: `(B, C, H, W)` to a feature vector `(B, D)`.

    If C is not 3, the first convolution is replaced, with torch's default initialisation. If loaded weights have C' !=
    C input channels, each of the C channels gets the mean of their filters times C' / C, so that an input with equal
    channels gives the same output. Nothing is ever downloaded.

    Args:
        in_shape: `(C, H, W)`.
        backbone: Name in `torchvision.models`, such as `resnet18`, `convnext_tiny`, `vit_b_16`.
        weights: File with the network's state dict, bare or under the key `state_dict`; its classifier is ignored.

    Raises:
        ConfigError: If the network does not exist or cannot take this input, or the file is not its state dict.
    """

    initial_files = ("weights",)

    def __init__(self, in_shape: Shape, backbone: str = "resnet18", weights: str | Path | None = None) -> None:
        super().__init__()
        if len(in_shape) != 3:
            raise ConfigError(f"Expected `in_shape` of TorchvisionEncoder to be (C, H, W), but got {in_shape}.")
        _check_name(backbone)
        try:
            self.backbone = _build(backbone, in_shape)
            stem, classifier = _replace_ends(self.backbone, in_shape[0])
            self._out_shape = _out_shape(self.backbone, in_shape)
        except (AssertionError, RuntimeError, ValueError) as error:
            raise ConfigError(
                f"`backbone`={backbone!r} cannot take inputs of shape {in_shape}. Resize the input in the data module"
                f" (every network takes 224 x 224, most take 64 x 64), or choose another network. torchvision"
                f" reports: {error}"
            ) from error
        convert_conv2d_weight_memory_format(self, torch.channels_last)
        if weights is not None:
            load_weights(self.backbone, Path(weights), stem, classifier)

    @property
    def out_shape(self) -> Shape:
        """`(D,)`."""
        return self._out_shape

    def forward(self, x: Tensor) -> Tensor:
        """Feature vector `(B, D)`."""
        features: Tensor = self.backbone(x)
        return features


def _check_name(name: str) -> None:
    names = models.list_models(module=models)
    if name not in names:
        close = difflib.get_close_matches(name, names) or ["resnet18", "convnext_tiny", "vit_b_16"]
        raise ConfigError(
            f"Expected `backbone` to be a classification network of torchvision, such as {', '.join(close)}, but got"
            f" {name!r}."
        )


def _build(name: str, in_shape: Shape) -> nn.Module:
    """The network without auxiliary classifiers; the input size is passed if the network takes it."""
    builder = models.get_model_builder(name)
    wanted = {"image_size": in_shape[1], "input_size": in_shape[1:], "aux_logits": False, "init_weights": True}
    accepted = inspect.signature(get_type_hints(builder)["return"]).parameters
    network: nn.Module = builder(weights=None, **{key: value for key, value in wanted.items() if key in accepted})
    return network


def _replace_ends(network: nn.Module, channels: int) -> tuple[str, str]:
    """Replace the first convolution for `channels` if needed, remove the classifier; return the names of both."""
    convolutions = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)]
    linears = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    stem = convolutions[0]
    classifier = (linears or convolutions)[-1]  # SqueezeNet classifies with a convolution
    first = network.get_submodule(stem)
    assert isinstance(first, nn.Conv2d)
    if channels != first.in_channels:
        first.in_channels = channels
        first.weight = nn.Parameter(first.weight.new_empty(first.out_channels, channels, *first.kernel_size))
        first.reset_parameters()
    network.set_submodule(classifier, nn.Identity())
    return stem, classifier


def _out_shape(network: nn.Module, in_shape: Shape) -> Shape:
    """Shape of one sample's features, found on the meta device without computation."""
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    meta = {name: tensor.to("meta") for name, tensor in tensors.items()}
    network.eval()
    with torch.no_grad():
        features = torch.func.functional_call(network, meta, torch.empty(1, *in_shape, device="meta"))
    network.train()
    return tuple(features.shape[1:])
