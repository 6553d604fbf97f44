"""What classes and batches must hold to, said with what to do."""

from collections.abc import Callable, Mapping
from inspect import getdoc, signature
from typing import Any, Self, TypeVar, get_args

import torch
from torch import Tensor

from fusionlit.errors import ConfigError, DataError
from fusionlit.types import Modalities, ModalityKind, ModalitySpec, Shape, as_specs

T = TypeVar("T")
RANKS = {"image": 3, "depth": 3, "points": 3, "signal": 2, "sequence": 2, "vector": 1, "tokens": 1}
"""Dimensions of a sample of each kind of modality."""


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
        article = "an" if base.__name__[0] in "AEIOU" else "a"
        write = f"Write `class {type(made).__name__}({base.__name__})`."
        raise ConfigError(
            f"Expected {article} {base.__name__}, but got {_path(type(made))}, which is none."
            f" {'Has the factory no `return`?' if made is None else write}"
        )
    if hasattr(base, "out_shape") and not is_shape(shape := told(made, "out_shape")):
        raise ConfigError(
            f"Expected `out_shape` of {_path(type(made))} to be a property that gives a tuple of sizes without the"
            f" batch, such as (64,), but got {shape!r}."
        )
    return made


def told(part: object, name: str) -> Any:  # noqa: ANN401 (whatever a user's property gives)
    """What a part tells by a property, such as `out_shape`.

    Raises:
        ConfigError: If the property's own code fails for want of an attribute: `nn.Module` would say that there is no
            such property.
    """
    try:
        return object.__getattribute__(part, name)
    except AttributeError as error:
        raise ConfigError(f"Expected {_path(type(part))} to tell its `{name}`, but {error}.") from error


def is_shape(value: object) -> bool:
    """Whether it is a tuple of sizes."""
    return isinstance(value, tuple) and len(value) > 0 and all(isinstance(n, int) and n > 0 for n in value)


def check_spec(name: str, spec: ModalitySpec) -> None:
    """Refuse a spec that contradicts itself.

    Raises:
        ConfigError: If shape, kind, channels, rate or normalisation do not fit each other.
    """
    shape, kind = spec.shape, spec.kind
    if not is_shape(shape):
        raise ConfigError(f"Expected the shape of {name!r} to be a tuple of sizes, but got {shape!r}.")
    if kind is not None and kind not in RANKS:
        raise ConfigError(f"Expected the kind of {name!r} to be one of {get_args(ModalityKind)}, but got {kind!r}.")
    if kind is not None and len(shape) != RANKS[kind]:
        raise ConfigError(
            f"Expected the shape of {name!r}, of kind {kind!r}, to have {RANKS[kind]} sizes without the batch, but got"
            f" {shape}. Correct the shape or the kind."
        )
    if spec.channels and len(spec.channels) != shape[0]:
        raise ConfigError(
            f"Expected {name!r} to have a name for each of its {shape[0]} channels or none, but got"
            f" {list(spec.channels)}."
        )
    if spec.rate_hz is not None and not 0 < spec.rate_hz < float("inf"):
        raise ConfigError(f"Expected `rate_hz` of {name!r} to be a number above 0, but got {spec.rate_hz!r}.")
    if spec.normalize and spec.whole_numbers:
        raise ConfigError(
            f"Expected `normalize` of {name!r} to be false or left out, since tokens name entries of a vocabulary:"
            " their mean says nothing, and an embedding takes integers."
        )


def check_inputs(inputs: Mapping[str, Tensor], modalities: Modalities) -> None:
    """Hold the inputs of a batch against what the data module has promised. Further inputs are passed over.

    Raises:
        DataError: If a modality is missing, has another shape, another number of samples than the first, or real
            numbers where tokens are expected.
    """
    if missing := [name for name in modalities if name not in inputs]:
        raise DataError(
            f"Expected `inputs` to hold all modalities {list(modalities)}, but {missing} are missing. Where a sample"
            " lacks a sensor, give any numbers of its shape, and say in `presence` that it is not there."
        )
    first = next(iter(modalities))
    for name, spec in as_specs(modalities).items():
        if inputs[name].shape[1:] != spec.shape:
            raise DataError(
                f"Expected `inputs` of {name!r} to be (B, *{spec.shape}), but got {tuple(inputs[name].shape)}. The"
                " data module's `modalities` gives shapes without the batch: make it and `convert` agree."
            )
        if spec.whole_numbers == (inputs[name].is_floating_point() or inputs[name].is_complex()):
            kind = "int64, since they are tokens" if spec.whole_numbers else "floats"
            raise DataError(
                f"Expected `inputs` of {name!r} to be {kind}, but got {inputs[name].dtype}. Make them so in `convert`"
                " of the data module, or correct the kind in its `modalities`."
            )
        if inputs[name].shape[0] != inputs[first].shape[0]:
            raise DataError(
                f"Expected `inputs` of all modalities to have one batch size, but {first!r} has"
                f" {inputs[first].shape[0]} samples and {name!r} has {inputs[name].shape[0]}."
            )


def check_presence(presence: Mapping[str, Tensor], inputs: Mapping[str, Tensor]) -> None:
    """Hold the presence of a batch against its inputs.

    Raises:
        DataError: If it names another modality, or is no mask `(B,)`.
    """
    for name, there in presence.items():
        if name not in inputs:
            raise DataError(f"Expected `presence` to name modalities, {list(inputs)}, but got {name!r}.")
        if there.ndim != 1 or there.shape[0] != inputs[name].shape[0] or there.dtype != torch.bool:
            raise DataError(
                f"Expected `presence` of {name!r} to be bool (B,), true where a sample has it, with B ="
                f" {inputs[name].shape[0]} as its input, but got {there.dtype} {tuple(there.shape)}."
            )


def check_output(part: str, x: object, shape: Shape, promise: str) -> None:
    """Hold the output of a part against what it has promised.

    Raises:
        ConfigError: If it is no tensor `(B, *shape)`.
    """
    if not isinstance(x, Tensor) or x.shape[1:] != shape:
        raise ConfigError(
            f"Expected {part} to put out (B, *{shape}), as {promise} says, but got"
            f" {tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__}. Make the two agree."
        )


def _path(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _to_write(name: str, abstract: Any) -> str:  # noqa: ANN401 (a property or a function)
    meaning = (getdoc(abstract) or "").split("\n")[0]
    if isinstance(abstract, property):
        return f"    @property\n    def {name}(self): ...  # {meaning}"
    return f"    def {name}({', '.join(signature(abstract).parameters)}): ...  # {meaning}"
