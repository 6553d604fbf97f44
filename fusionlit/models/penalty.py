"""A penalty on the fusion weights."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fusionlit.errors import ConfigError
from fusionlit.fusion import FusionOperator


def fusion_l1(layers: Mapping[str, FusionOperator]) -> Tensor:
    """`sum |a|` over the fusion weights of all layers, which are raw."""
    return torch.stack([p.abs().sum() for operator in layers.values() for p in operator.fusion_parameters()]).sum()


def check_raw(layers: Mapping[str, FusionOperator]) -> None:
    """Refuse a penalty on what are no raw weights.

    Raises:
        ConfigError: If no layer has fusion weights, or those of some are made of their parameters, by a softmax say.
    """
    weighted = {layer: operator for layer, operator in layers.items() if [*operator.fusion_parameters()]}
    if not weighted:
        raise ConfigError("Expected fusion weights for `fusion_l1`, but this model has none. Leave it out.")
    made = [layer for layer, operator in weighted.items() if not is_raw(operator)]
    if made:
        raise ConfigError(
            f"Expected raw fusion weights for `fusion_l1`, but those of {made} are made of their parameters, by a"
            " softmax say, where smaller parameters mean no smaller weights. Set `weights: raw`, or leave it out."
        )


def is_raw(operator: FusionOperator) -> bool:
    """Whether the operator's fusion weights are its parameters themselves, and not made of them."""
    parameters = [memory(p) for p in operator.fusion_parameters()]
    return all(memory(weight) in parameters for weight in operator.fusion_weights().values())


def memory(x: Tensor | nn.Parameter) -> int:
    """Where a tensor lies, in which a part of it lies too."""
    return x.untyped_storage().data_ptr()
