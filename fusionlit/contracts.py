"""What classes and batches must hold to, said with what to do."""

from collections.abc import Callable, Mapping
from inspect import getdoc, signature
from typing import Any, Self, TypeVar

import torch
from torch import Tensor

from fusionlit.errors import ConfigError, DataError
from fusionlit.types import Shape

T = TypeVar("T")


class Whole:
    """A base whose subclasses, once made, lack nothing abstract; Python's own error does not say what to write."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:  # noqa: ANN401 (those of any constructor)
        """Make one.

        Raises:
            ConfigError: If the class has left out what its base leaves to it; the message has the lines to add.
        """
        if message := lacking(cls):
            raise ConfigError(message)
        return super().__new__(cls)


def lacking(cls: type) -> str | None:
    """What a class has left out, and the lines to add."""
    names = sorted(getattr(cls, "__abstractmethods__", ()))
    lines = "\n".join(_to_write(name, getattr(cls, name)) for name in names)
    return f"Expected {_path(cls)} to have {', '.join(names)}, but it has not. Add:\n{lines}" if names else None


def make(factory: Callable[..., T], base: type, *sizes: object) -> T:
    """What a factory makes of these sizes.

    Raises:
        ConfigError: If it is no `base`, or its `out_shape` is no shape.
    """
    made = factory(*sizes)
    if not isinstance(made, base):
        raise ConfigError(
            f"Expected a {base.__name__}, but got {_path(type(made))}, which is none. Write"
            f" `class {type(made).__name__}({base.__name__})`."
        )
    shape: object = getattr(made, "out_shape", (1,))  # heads have none
    if not isinstance(shape, tuple) or not shape or not all(isinstance(size, int) for size in shape):
        raise ConfigError(
            f"Expected `out_shape` of {_path(type(made))} to be a property that gives a tuple of sizes without the"
            f" batch, such as (64,), but got {shape!r}."
        )
    return made


def check_inputs(inputs: Mapping[str, Tensor], modalities: Mapping[str, Shape]) -> None:
    """Hold the inputs of a batch against what the data module has promised. Further inputs are passed over.

    Raises:
        DataError: If a modality is missing, or has another shape.
    """
    if missing := [name for name in modalities if name not in inputs]:
        raise DataError(
            f"Expected `inputs` to hold all modalities {list(modalities)}, but {missing} are missing. Where a sample"
            " lacks a sensor, give any numbers of its shape, and say in `presence` that it is not there."
        )
    for name, shape in modalities.items():
        if inputs[name].shape[1:] != shape:
            raise DataError(
                f"Expected `inputs` of {name!r} to be (B, *{shape}), but got {tuple(inputs[name].shape)}. The data"
                " module's `modalities` tells shapes without the batch: make it and `convert` agree."
            )


def check_presence(presence: Mapping[str, Tensor], modalities: Mapping[str, Shape]) -> None:
    """Hold the presence of a batch against the modalities.

    Raises:
        DataError: If it names another, or is no mask `(B,)`.
    """
    for name, there in presence.items():
        if name not in modalities:
            raise DataError(f"Expected `presence` to name modalities, {list(modalities)}, but got {name!r}.")
        if there.ndim != 1 or there.dtype != torch.bool:
            raise DataError(
                f"Expected `presence` of {name!r} to be bool (B,), true where a sample has it, but got {there.dtype}"
                f" {tuple(there.shape)}."
            )


def _path(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _to_write(name: str, abstract: Any) -> str:  # noqa: ANN401 (a property or a function)
    meaning = (getdoc(abstract) or "").split("\n")[0]
    if isinstance(abstract, property):
        return f"    @property\n    def {name}(self): ...  # {meaning}"
    return f"    def {name}({', '.join(signature(abstract).parameters)}): ...  # {meaning}"
