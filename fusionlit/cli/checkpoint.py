"""Reading checkpoints, and checking that they match the command line."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from inspect import signature
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from fusionlit.cli.errors import no_checkpoint
from fusionlit.errors import ConfigError
from fusionlit.models import FusionModule
from fusionlit.models.hparams import MAY_CHANGE, without_initial_files
from fusionlit.models.saved import read_saved
from fusionlit.models.trust import check_checkpoint, imported

HEADS = "unimodal_heads."
"""Prefix of the weights of the unimodal heads, which `training.unimodal_loss_weight` adds."""


def untrained(folders: Sequence[Path]) -> ConfigError:
    """Error for a missing `--ckpt_path`; it lists the newest checkpoints of runs in these folders."""
    patterns = ("checkpoints/*.ckpt", "*/checkpoints/*.ckpt")
    found = {file.resolve(): file for folder in folders for pattern in patterns for file in folder.glob(pattern)}
    newest = sorted(found.values(), key=lambda file: file.stat().st_mtime, reverse=True)
    hint = f"The newest are {', '.join(map(str, newest[:5]))}." if newest else "`fusionlit fit` writes checkpoints."
    return ConfigError(f"Expected --ckpt_path, since this model has not been trained. {hint}")


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Load the checkpoint of a fusion model, after checking that every class it names can be trusted.

    Raises:
        ConfigError: If the file does not exist, is not such a checkpoint, or cannot be trusted.
    """
    if not path.is_file():
        raise no_checkpoint(path)
    try:
        saved = read_saved(path)
    except ConfigError:
        raise
    except Exception as error:  # a damaged file may raise nearly anything; torch goes on with unsafe advice
        what = str(error).partition("\n")[0]
        raise ConfigError(f"Expected `ckpt_path` to be a checkpoint, but {path} cannot be loaded ({what}).") from error
    check_checkpoint(saved, FusionModule, str(path))
    checkpoint: dict[str, Any] = saved
    return checkpoint


def check_heads(model: FusionModule, saved: Mapping[str, Any], path: str) -> None:
    """Raise ConfigError unless the model has the unimodal heads of the checkpoint, so that all weights match.

    Args:
        model: Model to train or evaluate.
        saved: Content of the checkpoint.
        path: Path of the checkpoint.

    Raises:
        ConfigError: If the heads that `training` asks for differ from those of the checkpoint.
    """
    asked, held = (
        sorted({name.split(".")[1] for name in names if name.startswith(HEADS)})
        for names in (model.state_dict(), saved["state_dict"])
    )
    if asked != held:
        weight = (saved["hyper_parameters"].get("training") or {}).get("unimodal_loss_weight")
        raise ConfigError(
            f"Expected the unimodal heads of the checkpoint {path}, {held}, but `training.unimodal_loss_weight` asks"
            f" for {asked}. Set it to {'null' if weight is None else weight}, as in the checkpoint, or train from"
            " scratch, without --ckpt_path."
        )


def merge_model_arguments(asked: Namespace, model: Namespace) -> None:
    """Merge the model arguments of the command line into those of the checkpoint.

    `training` and `task` may change when training continues from a checkpoint: the command line's values are kept. All
    other arguments must equal those of the checkpoint or be left at their defaults.

    Raises:
        ConfigError: If the checkpoint contains a different model.
    """
    if imported(asked.class_path) is not imported(model.class_path):
        raise ConfigError(
            f"The checkpoint contains a {model.class_path}, but the command line asks for a {asked.class_path}."
            " Pass the configuration of this model, such as RUN/config.yaml."
        )
    strategy: Any = imported(model.class_path)
    defaults = {name: parameter.default for name, parameter in signature(strategy).parameters.items()}
    differences = []
    held_arguments = model.as_dict().get("init_args", {})
    for name, value in asked.as_dict().get("init_args", {}).items():
        held = held_arguments.get(name)
        if name in ("modalities", "target", "members") or value == plain(defaults.get(name)):
            continue
        if name in MAY_CHANGE:
            model.init_args[name] = asked.init_args[name]
        elif without_initial_files(plain(value)) != plain(held):
            differences.append(f"{name} is {plain(held)} in the checkpoint, but {plain(value)} on the command line")
    if differences:
        raise ConfigError(f"The checkpoint contains a different model: {'; '.join(differences)}.")


def plain(value: Any) -> Any:  # noqa: ANN401 (any default or part of a configuration)
    """The value as written in a configuration file."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value
