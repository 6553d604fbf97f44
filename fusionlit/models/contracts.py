"""What a class of one's own must hold to, said with what to write."""

from collections.abc import Callable
from functools import partial
from inspect import getdoc, isclass, signature
from typing import Any, Self, TypeVar

from fusionlit.encoders import Encoder
from fusionlit.errors import ConfigError
from fusionlit.fusion import FusionOperator
from fusionlit.models.hparams import partial_class

T = TypeVar("T")


class Whole:
    """A base whose subclasses, once made, lack nothing abstract; Python's own error does not say what to write."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:  # noqa: ANN401 (those of any constructor)
        """Make one.

        Raises:
            ConfigError: If the class lacks something.
        """
        check_whole(cls)
        return super().__new__(cls)


def check_whole(cls: type) -> None:
    """Refuse a class that has left out what its base leaves to it.

    Raises:
        ConfigError: With the lines to add.
    """
    if message := lacking(cls):
        raise ConfigError(message)


def lacking(cls: type) -> str | None:
    """What a class has left out, and the lines to add."""
    names = sorted(getattr(cls, "__abstractmethods__", ()))
    lines = "\n".join(_to_write(name, getattr(cls, name)) for name in names)
    return f"Expected {_path(cls)} to have {', '.join(names)}, but it has not. Add:\n{lines}" if names else None


def make(factory: Callable[..., T], base: type, *sizes: object) -> T:
    """What a factory makes of these sizes.

    Raises:
        ConfigError: If its class lacks something, or it is no `base`.
    """
    called = partial_class(factory)[0] if isinstance(factory, partial) else factory
    if isclass(called):
        check_whole(called)
    made = factory(*sizes)
    if not isinstance(made, base):
        raise ConfigError(
            f"Expected a {base.__name__}, but got {_path(type(made))}, which is none. Write"
            f" `class {type(made).__name__}({base.__name__})`."
        )
    return made


def check_out_shape(part: Encoder | FusionOperator) -> None:
    """Refuse an `out_shape` that is no shape.

    Raises:
        ConfigError: If it is no tuple of sizes.
    """
    shape: object = part.out_shape
    if not isinstance(shape, tuple) or not shape or not all(isinstance(size, int) for size in shape):
        raise ConfigError(
            f"Expected `out_shape` of {_path(type(part))} to be a property that gives a tuple of sizes without the"
            f" batch, such as (64,), but got {shape!r}."
        )


def _path(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _to_write(name: str, abstract: Any) -> str:  # noqa: ANN401 (a property or a function)
    meaning = (getdoc(abstract) or "").split("\n")[0]
    if isinstance(abstract, property):
        return f"    @property\n    def {name}(self): ...  # {meaning}"
    return f"    def {name}({', '.join(signature(abstract).parameters)}): ...  # {meaning}"
