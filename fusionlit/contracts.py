"""Contracts of classes and batches; each error says how to fix the violation."""

from collections.abc import Callable, Mapping
from inspect import getdoc, signature
from typing import Any, Self, TypeVar, get_args

import torch
from torch import Tensor

from fusionlit.errors import ConfigError, DataError
from fusionlit.types import Modalities, ModalityKind, ModalitySpec, Shape, as_specs

T = TypeVar("T")
RANKS = {"image": 3, "depth": 3, "points": 3, "signal": 2, "sequence": 2, "vector": 1, "tokens": 1}
"""Number of dimensions of a sample, by kind of modality."""


class Whole:
    """Base class that refuses to instantiate abstract subclasses, with an error that lists the code to add."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:  # noqa: ANN401 (those of any constructor)
        """Create an instance.

        Raises:
            ConfigError: If abstract members are not implemented; the message contains the lines to add.
        """
        if message := lacking(cls):
            raise ConfigError(message)
        return super().__new__(cls)


def lacking(cls: type) -> str | None:
    """Error message that names the unimplemented abstract members and the lines to add, or None."""
    names = sorted(getattr(cls, "__abstractmethods__", ()))
    lines = "\n".join(_to_write(name, getattr(cls, name)) for name in names)
    return f"Expected {_path(cls)} to implement {', '.join(names)}, but it does not. Add:\n{lines}" if names else None


def make(factory: Callable[..., T], base: type, *sizes: object) -> T:
    """Call a factory with these sizes and check the result.

    Raises:
        ConfigError: If the result is not a `base`, or its `out_shape` is not a shape.
    """
    made = factory(*sizes)
    if not isinstance(made, base):
        article = "an" if base.__name__[0] in "AEIOU" else "a"
        write = f"Write `class {type(made).__name__}({base.__name__})`."
        raise ConfigError(
            f"Expected {article} {base.__name__}, but got {_path(type(made))}."
            f" {'Does the factory lack a `return`?' if made is None else write}"
        )
    if hasattr(base, "out_shape") and not is_shape(shape := declared(made, "out_shape")):
        raise ConfigError(
            f"Expected `out_shape` of {_path(type(made))} to be a property that returns a tuple of sizes without the"
            f" batch dimension, such as (64,), but got {shape!r}."
        )
    return made


def declared(part: object, name: str) -> Any:  # noqa: ANN401 (whatever a user's property returns)
    """Value of a property that a part declares, such as `out_shape`.

    Raises:
        ConfigError: If the property itself raises AttributeError, which `nn.Module` would misreport as a missing
            property.
    """
    try:
        return object.__getattribute__(part, name)
    except AttributeError as error:
        raise ConfigError(f"Expected {_path(type(part))} to have a working property `{name}`, but {error}.") from error


def is_shape(value: object) -> bool:
    """Whether the value is a nonempty tuple of positive integers."""
    return isinstance(value, tuple) and len(value) > 0 and all(isinstance(n, int) and n > 0 for n in value)


def check_spec(name: str, spec: ModalitySpec) -> None:
    """Check that a spec is consistent.

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
            f"Expected the shape of {name!r}, of kind {kind!r}, to have {RANKS[kind]} dimensions without the batch, but"
            f" got {shape}. Correct the shape or the kind."
        )
    if spec.channels and len(spec.channels) != shape[0]:
        raise ConfigError(
            f"Expected `channels` of {name!r} to be {shape[0]} names, one per channel, or empty, but got"
            f" {list(spec.channels)}."
        )
    if spec.rate_hz is not None and not 0 < spec.rate_hz < float("inf"):
        raise ConfigError(f"Expected `rate_hz` of {name!r} to be a number above 0, but got {spec.rate_hz!r}.")
    if spec.normalize and spec.whole_numbers:
        raise ConfigError(
            f"Expected `normalize` of {name!r} to be false or left out, since tokens are indices into a vocabulary:"
            " their mean is meaningless, and an embedding needs integers."
        )


def check_inputs(inputs: Mapping[str, Tensor], modalities: Modalities) -> None:
    """Check the inputs of a batch against the modalities that the data module declares; extra inputs are ignored.

    Raises:
        DataError: If a modality is missing, has a different shape, a different batch size from the first, or floats
            where tokens are expected or the reverse.
    """
    if missing := [name for name in modalities if name not in inputs]:
        raise DataError(
            f"Expected `inputs` to hold all modalities {list(modalities)}, but {missing} are missing. For a missing"
            " sensor, supply any values of its shape and mark the sample False in `presence`."
        )
    first = next(iter(modalities))
    for name, spec in as_specs(modalities).items():
        if inputs[name].shape[1:] != spec.shape:
            raise DataError(
                f"Expected `inputs` of {name!r} to be (B, *{spec.shape}), but got {tuple(inputs[name].shape)}. The"
                " data module's `modalities` gives shapes without the batch dimension: make it and `convert` agree."
            )
        if spec.whole_numbers == (inputs[name].is_floating_point() or inputs[name].is_complex()):
            kind = "int64, since they are tokens" if spec.whole_numbers else "floats"
            raise DataError(
                f"Expected `inputs` of {name!r} to be {kind}, but got {inputs[name].dtype}. Convert them in `convert`"
                " of the data module, or correct the kind in its `modalities`."
            )
        if inputs[name].shape[0] != inputs[first].shape[0]:
            raise DataError(
                f"Expected `inputs` of all modalities to have the same batch size, but {first!r} has"
                f" {inputs[first].shape[0]} samples and {name!r} has {inputs[name].shape[0]}."
            )


def check_presence(presence: Mapping[str, Tensor], inputs: Mapping[str, Tensor]) -> None:
    """Check the presence masks of a batch against its inputs.

    Raises:
        DataError: If a name is not an input, or a mask is not bool `(B,)`.
    """
    for name, mask in presence.items():
        if name not in inputs:
            raise DataError(f"Expected the keys of `presence` to be among {list(inputs)}, but got {name!r}.")
        if mask.ndim != 1 or mask.shape[0] != inputs[name].shape[0] or mask.dtype != torch.bool:
            raise DataError(
                f"Expected `presence` of {name!r} to be bool (B,), true where a sample has it, with B ="
                f" {inputs[name].shape[0]} as in its input, but got {mask.dtype} {tuple(mask.shape)}."
            )


def check_output(part: str, x: object, shape: Shape, promise: str) -> None:
    """Check the output of a part against its declared shape.

    Raises:
        ConfigError: If it is not a tensor `(B, *shape)`.
    """
    if not isinstance(x, Tensor) or x.shape[1:] != shape:
        raise ConfigError(
            f"Expected {part} to return (B, *{shape}), as {promise} says, but got"
            f" {tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__}. Make the two agree."
        )


def _path(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _to_write(name: str, abstract: Any) -> str:  # noqa: ANN401 (a property or a function)
    meaning = (getdoc(abstract) or "").split("\n")[0]
    if isinstance(abstract, property):
        return f"    @property\n    def {name}(self): ...  # {meaning}"
    return f"    def {name}({', '.join(signature(abstract).parameters)}): ...  # {meaning}"
