"""What an optimizer needs beside its arguments: the fused kernel, and one loss where it looks more than once."""

from typing import Any

import torch
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from fusionlit.errors import ConfigError
from fusionlit.models.balance.base import Balance


def check_one_loss(optimizer: Optimizer, held_out: float, balance: Balance | None) -> None:
    """Refuse LBFGS, which takes several looks at one loss per step, where gradients are not those of the loss.

    Raises:
        ConfigError: If samples are held out, or there is a balance.
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
    """Let Adam and AdamW update every parameter in one pass, unless their arguments say how.

    Without it they pass over all parameters some ten times a step. Said to the groups and not to the optimizer, which
    would then unscale the gradients of half precision itself, and Lightning could not clip them.
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
    """Bring what was loaded to the strides of its parameters: the fused kernel takes both by their order in memory."""
    for parameter, state in optimizer.state.items():
        state.update({name: like(parameter, x) for name, x in state.items() if x.shape == parameter.shape})


def lay_gradients(optimizer: Optimizer, *_: Any) -> None:  # noqa: ANN401 (arguments of the step)
    """Bring gradients to the strides of their parameters too; torch's own have them, those of a callback may not."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None:
                parameter.grad = like(parameter, parameter.grad)


def like(parameter: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """`x` with the strides of the parameter; itself if it has them."""
    return x if x.stride() == parameter.stride() else torch.empty_like(parameter, dtype=x.dtype).copy_(x)


def is_dense(parameter: torch.Tensor) -> bool:
    """Whether it lies in memory without gaps, as a new tensor like it would; a lazy one does not lie there yet."""
    return not is_lazy(parameter) and parameter.stride() == torch.empty_like(parameter, device="meta").stride()
