"""Hyperparameters as plain configuration, so that a checkpoint loads safely and on its own."""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields, is_dataclass
from functools import partial
from inspect import isclass, signature
from pathlib import Path
from typing import Any

from jsonargparse.typing import register_type
from lightning.pytorch.utilities import rank_zero_warn

from fusionlit.errors import ConfigError
from fusionlit.models.trust import imported
from fusionlit.types import ModalitySpec, TargetSpec

# Linked from the data to the model as whole values, not as one argument per field.
register_type(TargetSpec, serializer=TargetSpec._asdict, deserializer=lambda config: TargetSpec(**config))
register_type(ModalitySpec, serializer=asdict, deserializer=lambda config: ModalitySpec(**config))

MAY_CHANGE = ("training", "task")
"""Arguments of a fusion model that may be changed when its checkpoint is loaded, for further training."""


def to_config(value: Any, name: str = "model") -> Any:  # noqa: ANN401 (any argument of any constructor)
    """Convert classes and partials to class_path and init_args, dataclasses to dicts, paths to strings.

    Raises:
        ConfigError: If a value cannot be named in a configuration: a lambda, a local class, a module instance.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {key: to_config(item, f"{name}.{key}") for key, item in value.items()}
    if isinstance(value, TargetSpec):
        return to_config(value._asdict(), name)
    if isinstance(value, list | tuple):
        return [to_config(item, f"{name}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, partial) and len(called := partial_class(value)) == 1:
        return {**to_config(called[0], name), "init_args": to_config(value.keywords, name)}
    if is_dataclass(value) and not isclass(value):
        return {field.name: to_config(getattr(value, field.name), f"{name}.{field.name}") for field in fields(value)}
    if isclass(value) and "<locals>" not in value.__qualname__:
        return {"class_path": class_path(value)}
    raise ConfigError(
        f"Expected `{name}` to be something that a checkpoint can name, such as a class of a module or"
        f" functools.partial(Class, keyword=...), but got {value!r}. A checkpoint holds configuration, not code:"
        " replace a lambda or a local class by a partial or a top-level class of a module."
    )


def check_replaced(model: type, given: Iterable[str]) -> set[str]:
    """Names in `given` that are arguments of the model.

    Raises:
        ConfigError: If one of them would change the network.
    """
    own = set(signature(model).parameters) & set(given)
    if fixed := sorted(own - {*MAY_CHANGE, "modalities", "target"}):
        raise ConfigError(
            f"Expected {' or '.join(MAY_CHANGE)} as arguments when loading a checkpoint, but got {fixed}, which would"
            " change the trained network. Create a new model instead."
        )
    return own


def class_path(cls: type) -> str:
    """Shortest import path of a class: that of the package that exports it."""
    parts = cls.__module__.split(".")
    modules = [".".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
    exporting = (name for name in modules if getattr(sys.modules.get(name), cls.__name__, None) is cls)
    return f"{next(exporting, cls.__module__)}.{cls.__qualname__}"


def classes_of_script(config: Any) -> list[str]:  # noqa: ANN401 (any part of a configuration)
    """Class paths in a configuration that only the running script or notebook defines (`__main__`)."""
    if isinstance(config, dict):
        named = [config.get(key) for key in ("_class_path", "class_path")]
        here = [path for path in named if isinstance(path, str) and path.startswith("__main__.")]
        config = list(config.values())
    else:
        here = []
    return [*here, *(path for item in config for path in classes_of_script(item))] if isinstance(config, list) else []


def warn_of_script(config: dict[str, Any]) -> None:
    """Warn if a configuration names classes that only the running script or notebook defines."""
    if names := classes_of_script(config):
        rank_zero_warn(
            "The checkpoints of this run can only be loaded in this script or notebook, which defines"
            f" {', '.join(dict.fromkeys(names))}. Move the class to a module (a .py file), and import it from there."
        )


def without_initial_files(config: Any) -> Any:  # noqa: ANN401 (any part of a configuration)
    """Remove the files of initial weights (`Encoder.initial_files`): the checkpoint contains the weights."""
    if isinstance(config, list):
        return [without_initial_files(item) for item in config]
    if not isinstance(config, dict):
        return config
    config = {key: without_initial_files(value) for key, value in config.items()}
    files = getattr(imported(str(config.get("class_path"))), "initial_files", ())
    if config.get("init_args"):
        config["init_args"] |= dict.fromkeys(set(files) & set(config["init_args"]))
    return config


def partial_class(value: partial[Any]) -> tuple[Any, ...]:
    """What a partial calls: `(Class,)`, longer if it has other positional arguments.

    The partials that jsonargparse builds from YAML call a function of its own, with the class as the last argument.
    """
    from_yaml = getattr(value.func, "__module__", "").startswith("jsonargparse")
    return value.args[-1:] if from_yaml else (value.func, *value.args)
