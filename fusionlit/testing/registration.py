"""Detection of tensors and modules that are not registered."""

from collections.abc import Iterator

from torch import Tensor, nn
from torchmetrics import Metric


def unregistered(module: nn.Module) -> Iterator[str]:
    """Tensors and modules that a module or its submodules hold in plain attributes, and what to use instead."""
    known = {id(x) for x in (*module.parameters(), *module.buffers(), *module.modules())}
    for sub in module.modules():
        if isinstance(sub, Metric):  # torchmetrics registers its states in its own way
            continue
        for name, value in vars(sub).items():
            if name in ("_parameters", "_buffers", "_modules"):
                continue
            for x in _held(value):
                if id(x) not in known:
                    yield f"`{name}` of {type(sub).__name__} holds {_advice(x, value)}"


def _held(value: object) -> Iterator[Tensor | nn.Module]:
    if isinstance(value, Tensor | nn.Module):
        yield value
    elif isinstance(value, dict):
        for x in value.values():
            yield from _held(x)
    elif isinstance(value, list | tuple | set):
        for x in value:
            yield from _held(x)


def _advice(x: Tensor | nn.Module, value: object) -> str:
    if not isinstance(x, nn.Parameter | nn.Module):
        return "a plain tensor: use `self.register_buffer`, or nn.Parameter if it is to be trained"
    kind = "Parameter" if isinstance(x, nn.Parameter) else "Module"
    container = f"{kind}Dict" if isinstance(value, dict) else f"{kind}List"
    return f"a {type(x).__name__} in a plain {type(value).__name__}: use nn.{container}"
