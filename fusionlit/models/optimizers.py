"""Checks and settings of optimizers: the fused kernel, and a single loss for LBFGS."""

from typing import Any

import torch
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from fusionlit.errors import ConfigError
from fusionlit.models.balance.base import Balance


def check_one_loss(optimizer: Optimizer, held_out: float, balance: Balance | None) -> None:
    """Refuse LBFGS, which evaluates one loss several times per step, if gradients are not those of the loss.

    Raises:
        ConfigError: If the optimizer is LBFGS, and samples are held out or there is a balance.
    """
    if not isinstance(optimizer, torch.optim.LBFGS):
        return
    for name, given in (("fusion_held_out", held_out), ("balance", balance)):
        if given:
            off = "0" if name == "fusion_held_out" else "null"
            raise ConfigError(
                f"LBFGS searches along the gradients of one loss, which `{name}` replaces: set `training.{name}` to"
                f" {off}, or choose another optimizer."
            )


def use_fused_kernel(optimizer: Optimizer) -> None:
    """Use the fused kernel of Adam and AdamW, unless their arguments choose an implementation.

    Other implementations pass over all parameters about ten times per step. Set in the groups and not in the optimizer,
    which would then unscale half-precision gradients itself, so that Lightning could not clip them.
    """
    chosen = any(optimizer.defaults.get(name) is not None for name in ("foreach", "fused"))
    graphs = any(optimizer.defaults.get(name) for name in ("capturable", "differentiable"))
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    able = all(p.device.type in ("cpu", "cuda") and p.is_floating_point() and is_dense(p) for p in parameters)
    if not isinstance(optimizer, torch.optim.Adam) or chosen or graphs or not able:
        return
    for group in optimizer.param_groups:
        group["fused"] = True
    optimizer.register_load_state_dict_post_hook(lay_state)
    optimizer.register_step_pre_hook(lay_gradients)


def lay_state(optimizer: Optimizer) -> None:
    """Give loaded state the strides of its parameters: the fused kernel pairs them by memory order."""
    for parameter, state in optimizer.state.items():
        state.update({name: like(parameter, x) for name, x in state.items() if x.shape == parameter.shape})


def lay_gradients(optimizer: Optimizer, *_: Any) -> None:  # noqa: ANN401 (arguments of the step)
    """Give gradients the strides of their parameters; torch's own have them, those of a callback might not."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None:
                parameter.grad = like(parameter, parameter.grad)


def like(parameter: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """`x` with the strides of the parameter; unchanged if they agree."""
    return x if x.stride() == parameter.stride() else torch.empty_like(parameter, dtype=x.dtype).copy_(x)


def is_dense(parameter: torch.Tensor) -> bool:
    """Whether a parameter is stored without gaps, like a new tensor of its layout; False for lazy parameters."""
    return not is_lazy(parameter) and parameter.stride() == torch.empty_like(parameter, device="meta").stride()
