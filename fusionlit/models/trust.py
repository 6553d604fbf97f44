"""Trust in configurations: loading a checkpoint from an unknown source runs only known classes.

A checkpoint holds weights and hyperparameters, but no code. However, hyperparameters name classes, and building a model
from them imports and calls what they name. So they are checked before anything is imported or built:

- They may only name classes, never functions, and only subclasses of the type hint of the constructor's argument: an
  `Encoder`, a `Task`, an `Optimizer`. Without such a hint: a module, an optimizer or a scheduler.
- A class must belong to one of `PACKAGES`, or to a module that is already imported. Python code has imported what it
  uses. The command line imports what its arguments and the user's own configuration files name, also in `imports`. A
  checkpoint imports nothing else, in particular nothing from the working folder.

A configuration file is written by the user and may name any module, but it, too, may only build objects of classes.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import is_dataclass
from enum import Enum
from importlib import import_module
from inspect import Parameter, isclass, isfunction, isroutine, signature
from pathlib import Path
from types import NoneType, SimpleNamespace, UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from jsonargparse import get_loader
from jsonargparse.typing import get_registered_type
from lightning import LightningModule
from lightning.pytorch.core.saving import CHECKPOINT_PAST_HPARAMS_KEYS
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from fusionlit.errors import ConfigError

PACKAGES = ("fusionlit", "torch", "torchvision", "torchmetrics")
"""Packages whose classes a checkpoint may name even if their module is not imported yet."""
INSTANTIATOR = "lightning.pytorch.cli.instantiate_module"
"""Function with which Lightning's loader builds a model from hyperparameters; the only one in a checkpoint."""
UNHINTED = (nn.Module, Optimizer, LRScheduler)
"""Allowed base classes if no type hint names one."""
WRITTEN = {"state_dict", "hyper_parameters", "modalities"}
"""Required keys of a checkpoint."""
OF_THE_MODEL = ("_class_path", "_instantiator")
OF_A_CLASS = {"class_path", "init_args", "dict_kwargs"}

Kinds = tuple[Any, ...]
"""Base classes that a parameter accepts by class path: empty for plain values only, `Any` for anything."""


def check_checkpoint(saved: Any, kind: type, where: str, replaced: Iterable[str] = ()) -> type[Any]:  # noqa: ANN401
    """Class of the model in a checkpoint, after checking everything that its hyperparameters name.

    Args:
        saved: Content of the file.
        kind: Required base class of the model.
        where: The file, for messages.
        replaced: Arguments that the caller gives instead of those in the checkpoint.

    Raises:
        ConfigError: If it is not a checkpoint of fusionlit, or names something other than a class of the expected kind,
            or a class of a module that is not imported.
    """
    keys = set(saved) if isinstance(saved, dict) else set()
    if not keys >= WRITTEN or keys & set(CHECKPOINT_PAST_HPARAMS_KEYS):
        raise ConfigError(f"Expected {where} to be a checkpoint that fusionlit wrote, but it holds something else.")
    config = {name: value for name, value in saved["hyper_parameters"].items() if name not in set(replaced)}
    return check_hyperparameters(config, kind, where)


def check_hyperparameters(config: Mapping[str, Any], kind: type, where: str) -> type[Any]:
    """The same for hyperparameters alone."""
    return _model(config, kind, where, "hyper_parameters")


def check_configuration(config: Any, field: str, *, saved: bool) -> None:  # noqa: ANN401 (any part of a configuration)
    """Check that a configuration names no functions in place of classes, which jsonargparse would call.

    Args:
        config: Configuration as parsed, so that all of its modules are imported.
        field: Its name, for messages.
        saved: Whether it will be saved in a checkpoint: then it may not contain any function.

    Raises:
        ConfigError: If it does.
    """
    for name, value in _leaves(config, field):
        named = imported(str(value)) if name.endswith(".class_path") else None
        if (named is not None and not isclass(named)) or (saved and isroutine(value)):
            got = value if named is None else named
            raise ConfigError(f"Expected `{name.removesuffix('.class_path')}` to be a class, but got {got!r}.")


def own_modules(config: Any) -> list[str]:  # noqa: ANN401 (any part of a configuration)
    """Modules outside `PACKAGES` that a configuration names."""
    paths = [str(value) for name, value in _leaves(config, "") if name.endswith(".class_path")]
    return sorted({path.rpartition(".")[0] for path in paths if path.split(".")[0] not in PACKAGES})


def _leaves(config: Any, field: str) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 (any part of a configuration)
    """Leaves of a configuration, with the name of each."""
    if isinstance(config, Mapping):
        for name, value in config.items():
            yield from _leaves(value, field if name == "init_args" else f"{field}.{name}")
    elif isinstance(config, list | tuple):
        for i, value in enumerate(config):
            yield from _leaves(value, f"{field}[{i}]")
    else:
        yield field, config


def imported(path: str) -> Any:  # noqa: ANN401 (whatever has a name)
    """Object with this path in the imported modules, or None."""
    names = path.split(".")
    for i in range(len(names) - 1, 0, -1):
        found: Any = sys.modules.get(".".join(names[:i]))
        if found is not None:
            for name in names[i:]:
                found = getattr(found, name, None)
            return found
    return None


def _model(config: Mapping[str, Any], kind: type, where: str, field: str) -> type[Any]:
    """Class of a model, after checking its arguments."""
    if config.get("_instantiator", INSTANTIATOR) != INSTANTIATOR:
        raise _refused(f"{field}._instantiator", where, f"be {INSTANTIATOR}", config["_instantiator"])
    cls = _find(config.get("_class_path"), (kind,), where, f"{field}._class_path")
    _walk_arguments({name: config[name] for name in config if name not in OF_THE_MODEL}, cls, where, field)
    return cls


def _walk(value: Any, kinds: Kinds, where: str, field: str) -> None:  # noqa: ANN401 (any part of a configuration)
    """Check that everything a value names is of the given kinds."""
    if isinstance(value, str):
        _walk_text(value, kinds, where, field)
    elif isinstance(value, list | tuple | set):
        for i, item in enumerate(value):
            _walk(item, kinds, where, f"{field}[{i}]")
    elif isinstance(value, Mapping) and "_class_path" in value and not kinds:
        _model(value, LightningModule, where, field)  # a member: models are built from text only
    elif isinstance(value, Mapping) and "class_path" in value:
        if other := sorted(set(value) - OF_A_CLASS):  # jsonargparse would treat it as a plain dict
            raise _refused(field, where, f"hold {', '.join(sorted(OF_A_CLASS))} alone", other)
        cls = _find(value["class_path"], kinds, where, field)
        _walk_arguments({name: value[name] for name in value if name != "class_path"}, cls, where, field)
    elif isinstance(value, Mapping):
        dataclasses = cast(list[type], [kind for kind in kinds if is_dataclass(kind)])
        hints = {name: hint for kind in dataclasses for name, hint in _hints(kind).items()}
        for name, item in value.items():  # fields of a dataclass, or items of a container
            _walk(item, _kinds(hints[name]) if name in hints else kinds, where, f"{field}.{name}")


def _walk_arguments(arguments: Mapping[str, Any], cls: type, where: str, field: str) -> None:
    """Check everything that the arguments of a class name."""
    hints = _hints(cls)
    for name, value in arguments.items():
        if name in ("init_args", "dict_kwargs") and isinstance(value, Mapping):
            _walk_arguments(value, cls, where, field)
        else:
            _walk(value, _kinds(hints.get(name, Callable)), where, f"{field}.{name}")


def _walk_text(value: str, kinds: Kinds, where: str, field: str) -> None:
    """Check text, which jsonargparse may parse as YAML, import as a path, or open as a file."""
    read: Any = value
    with suppress(Exception):  # any error of the loader means that it is not YAML
        read = get_loader("yaml")(value)
    if not isinstance(read, str):
        _walk(read, kinds, where, field)
    elif kinds and Any not in kinds and ("." in value or Path(value).is_file()):
        _find(value, kinds, where, field)


def _find(path: Any, kinds: Kinds, where: str, field: str) -> type:  # noqa: ANN401 (whatever a checkpoint holds)
    """Class at an import path, which must be a subclass of one of the kinds."""
    bases = tuple(base for kind in kinds for base in (UNHINTED if kind is Any else (kind,)))
    expected = f"name a subclass of {' or '.join(base.__name__ for base in bases)}" if bases else "name no class"
    if not isinstance(path, str):
        raise _refused(field, where, expected, path)
    package, *rest = path.split(".")
    module = path.rpartition(".")[0]
    for i in range(len(rest)) if package in PACKAGES else ():
        if "__main__" in rest:
            break  # a program
        with suppress(Exception):  # a class instead of a module, or a module with a missing dependency
            import_module(".".join((package, *rest[:i])))
    found = imported(path)
    if found is None and package not in PACKAGES and bases:
        raise ConfigError(
            f"Expected `{field}` of {where} to {expected} of an imported module, but got {path}. A checkpoint does not"
            f" import your modules. If you trust it, import {module} first; on the command line, give the"
            f" configuration that names it, such as --config RUN/config.yaml or --model, or --imports {module}."
        )
    if not isclass(found) or not issubclass(found, bases):
        raise _refused(field, where, expected, path)
    return found


def _refused(field: str, where: str, expected: str, got: object) -> ConfigError:
    return ConfigError(
        f"Expected `{field}` of {where} to {expected}, but got {got!r}. fusionlit does not write such checkpoints:"
        " do not use this file unless you trust its source."
    )


def _hints(cls: type) -> dict[str, Any]:
    """Type hints of the arguments of a constructor and of its base classes' constructors.

    A hint that cannot be resolved, such as a name imported under `TYPE_CHECKING`, counts as a factory.
    """
    hints: dict[str, Any] = {}
    for init in filter(isfunction, (vars(base).get("__init__") for base in reversed(cls.__mro__))):
        for name, parameter in list(signature(init).parameters.items())[1:]:
            if parameter.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD):
                continue
            if parameter.annotation is parameter.empty:
                hints.setdefault(name, Any)
                continue
            try:
                hints |= get_type_hints(SimpleNamespace(__annotations__={name: parameter.annotation}), init.__globals__)
            except Exception:  # an annotation may raise anything
                hints[name] = Callable
    return hints


def _kinds(hint: Any) -> Kinds:  # noqa: ANN401 (any type hint)
    """Base classes that a parameter of this type accepts by class path, directly or in a container."""
    origin, args = get_origin(hint), get_args(hint)
    cls = origin or hint
    if cls is Callable:
        made = _kinds(args[-1]) if args else ()
        return UNHINTED if Any in made else made or UNHINTED
    if args and (cls in (Union, UnionType) or (isclass(cls) and issubclass(cls, type | Iterable))):
        return tuple(dict.fromkeys(kind for arg in args for kind in _kinds(arg)))
    if cls in (Literal, str, int, float, bool, NoneType, ...):
        return ()
    if not isclass(cls) or cls.__module__ in ("builtins", "collections.abc", "typing"):
        return (Any,)
    return () if issubclass(cls, Enum) or get_registered_type(cls) else (cls,)
