"""L1 penalty on the fusion weights."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fusionlit.errors import ConfigError
from fusionlit.fusion import FusionOperator


def fusion_l1(layers: Mapping[str, FusionOperator]) -> Tensor:
    """`sum |a|` over the raw fusion weights of all layers."""
    return torch.stack([p.abs().sum() for operator in layers.values() for p in operator.fusion_parameters()]).sum()


def check_raw(layers: Mapping[str, FusionOperator]) -> None:
    """Check that all fusion weights are raw.

    Raises:
        ConfigError: If there are no fusion weights, or some are functions of their parameters, such as a softmax.
    """
    weighted = {layer: operator for layer, operator in layers.items() if [*operator.fusion_parameters()]}
    if not weighted:
        raise ConfigError("Expected fusion weights for `fusion_l1`, but this model has none. Leave it out.")
    made = [layer for layer, operator in weighted.items() if not is_raw(operator)]
    if made:
        raise ConfigError(
            f"Expected raw fusion weights for `fusion_l1`, but those of {made} are functions of their parameters,"
            " such as a softmax, and would not shrink with them. Set `weights: raw`, or leave it out."
        )


def is_raw(operator: FusionOperator) -> bool:
    """Whether the operator's fusion weights are its parameters themselves, not functions of them."""
    parameters = [memory(p) for p in operator.fusion_parameters()]
    return all(memory(weight) in parameters for weight in operator.fusion_weights().values())


def memory(x: Tensor | nn.Parameter) -> int:
    """Address of a tensor's storage, which its views share."""
    return x.untyped_storage().data_ptr()
