"""What a checkpoint holds, against what is asked of it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from jsonargparse import Namespace

from fusionlit.cli.errors import no_checkpoint
from fusionlit.errors import ConfigError
from fusionlit.models import FusionModule
from fusionlit.models.hparams import MAY_CHANGE, without_initial_files
from fusionlit.models.trust import check_checkpoint, imported

HEADS = "unimodal_heads."
"""What the weights of heads that `training.unimodal_loss_weight` asks for are called."""


def untrained(folders: Sequence[Path]) -> ConfigError:
    """What to say where a trained network is missing: the checkpoints of runs in these folders, the newest first."""
    patterns = ("checkpoints/*.ckpt", "*/checkpoints/*.ckpt")
    found = {file.resolve(): file for folder in folders for pattern in patterns for file in folder.glob(pattern)}
    newest = sorted(found.values(), key=lambda file: file.stat().st_mtime, reverse=True)
    there_are = f"The newest are {', '.join(map(str, newest[:5]))}." if newest else "`fusionlit fit` writes some."
    return ConfigError(f"Expected --ckpt_path, since this network has never been trained. {there_are}")


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What a checkpoint of a strategy holds, once all that it names can be trusted.

    Raises:
        ConfigError: If the file is not there, holds something else, or cannot be trusted.
    """
    if not path.is_file():
        raise no_checkpoint(path)
    try:
        saved = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # whatever the file holds
        raise ConfigError(f"Expected `ckpt_path` to be a checkpoint, but {path} cannot be loaded ({error}).") from error
    check_checkpoint(saved, FusionModule, str(path))
    checkpoint: dict[str, Any] = saved
    return checkpoint


def check_heads(model: FusionModule, saved: Mapping[str, Any], path: str) -> None:
    """Refuse to go on with other unimodal heads than a checkpoint has: their weights would be missing, or left over.

    Args:
        model: As it is to be trained or measured.
        saved: What the checkpoint holds.
        path: Of the checkpoint.

    Raises:
        ConfigError: If `training` asks for heads that the checkpoint lacks, or leaves out some that it has.
    """
    asked, held = (
        sorted({name.split(".")[1] for name in names if name.startswith(HEADS)})
        for names in (model.state_dict(), saved["state_dict"])
    )
    if asked != held:
        weight = (saved["hyper_parameters"].get("training") or {}).get("unimodal_loss_weight")
        raise ConfigError(
            f"Expected the unimodal heads of the checkpoint {path}, {held}, but `training.unimodal_loss_weight` asks"
            f" for {asked}. Set it as in the checkpoint, to {'null' if weight is None else weight}, or train anew,"
            " without --ckpt_path."
        )


def keep_what_was_asked(asked: Namespace, model: Namespace) -> None:
    """Hold what the command line asked of a model against what the checkpoint has made of it.

    How it is trained (`training`, `task`) may change from a checkpoint on, and is as asked. Everything else must be as
    in the checkpoint, or left at its default.

    Raises:
        ConfigError: If the checkpoint holds another model.
    """
    if imported(asked.class_path) is not imported(model.class_path):
        raise ConfigError(
            f"The checkpoint holds a {model.class_path}, but the command line asks for a {asked.class_path}."
            " Give the model's own configuration, such as RUN/config.yaml."
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
        raise ConfigError(f"The checkpoint holds another model: {'; '.join(differences)}.")


def plain(value: Any) -> Any:  # noqa: ANN401 (any default or part of a configuration)
    """The value as a configuration file would have it."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value
