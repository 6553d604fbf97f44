"""Trained models that become part of another: unimodal networks or whole fusion models."""

import json
from collections.abc import Mapping
from copy import deepcopy
from inspect import signature
from pathlib import Path
from typing import Any, NamedTuple

from lightning.pytorch.cli import instantiate_module
from torch import nn

from fusionlit.errors import ConfigError
from fusionlit.models.base import FusionModule
from fusionlit.models.saved import read_saved
from fusionlit.models.schema import check_schema, check_target
from fusionlit.models.trust import check_checkpoint, check_hyperparameters
from fusionlit.models.unimodal import Unimodal


class Members(NamedTuple):
    """Encoder and head of a trained network per modality, and the configurations as JSON."""

    encoders: nn.ModuleDict
    heads: nn.ModuleDict
    config: dict[str, str]


def load_members(members: Mapping[str, str], strategy: FusionModule) -> Members:
    """Load encoders and heads from checkpoints, and copy their input normalisation to `strategy`.

    Args:
        members: Checkpoint of a `Unimodal` for every modality, or its configuration as JSON, to build it without
            weights.
        strategy: The fusion model that they become part of.

    Raises:
        ConfigError: If a checkpoint is missing, or was trained for other data, another modality or another `normalize`.
    """
    if set(members) != set(strategy.modalities):
        raise ConfigError(
            f"Expected `members` to name every modality, {list(strategy.modalities)}, but got {list(members)}."
        )
    loaded = {name: load_member(members[name], name, strategy, "members") for name in strategy.modalities}
    for name, (member, _) in loaded.items():
        _check_normalize(name, member, strategy)
        if name in strategy.normalization:
            strategy.normalization[name].load_state_dict(member.normalization[name].state_dict())
    return Members(
        nn.ModuleDict({name: member.encoder for name, (member, _) in loaded.items()}),
        nn.ModuleDict({name: member.head for name, (member, _) in loaded.items()}),
        {name: json.dumps(config) for name, (_, config) in loaded.items()},
    )


def load_member(member: str, name: str, strategy: FusionModule, argument: str) -> tuple[Unimodal, dict[str, Any]]:
    """Load the network of one modality and its configuration, and check that it fits the data of `strategy`.

    Args:
        member: Checkpoint of a `Unimodal`, or its configuration as JSON, to build it without weights.
        name: Its modality.
        strategy: The fusion model that it becomes part of, or teaches.
        argument: Name of the argument, for messages.

    Raises:
        ConfigError: If the checkpoint is missing, or was trained for other data or another modality.
    """
    loaded, config = _load(member, f"{argument}.{name}")
    own = {name: loaded.modalities[name]} if name in loaded.modalities else loaded.modalities
    check_schema(own, {name: strategy.modalities[name]})
    check_target(loaded.target, strategy.target)
    if loaded.modality != name:
        raise ConfigError(
            f"Expected {argument.removesuffix('s')} {name!r} to predict from {name!r}, but its checkpoint predicts from"
            f" {loaded.modality!r}."
        )
    return loaded, config


def _check_normalize(name: str, member: Unimodal, strategy: FusionModule) -> None:
    before, now = (name in model.normalization for model in (member, strategy))
    if before != now:
        raise ConfigError(f"Expected `normalize` to be {before}, as in training of member {name!r}, but got {now}.")


def _load(member: str, argument: str) -> tuple[Unimodal, dict[str, Any]]:
    loaded, config = load_any(member, argument)
    if not isinstance(loaded, Unimodal):
        saved = config["_class_path"]
        raise ConfigError(
            f"Expected `{argument}` to be a checkpoint of Unimodal, but {member} is a checkpoint of {saved}."
        )
    return loaded, config


def load_any(member: str, argument: str) -> tuple[FusionModule, dict[str, Any]]:
    """Load the fusion model of a checkpoint, and its configuration.

    Args:
        member: The checkpoint, or the configuration as JSON, to build it without weights.
        argument: Name of the argument, for messages.

    Raises:
        ConfigError: If the file is missing, is not a checkpoint of a fusion model, or names something untrusted
            (`models/trust.py`).
    """
    if member.startswith("{"):
        config = json.loads(member)
        strategy: type[FusionModule] = check_hyperparameters(config, FusionModule, f"the configuration in `{argument}`")
        known = signature(strategy).parameters
        arguments = {key: value for key, value in deepcopy(config).items() if key in known}  # the parser changes them
        return instantiate_module(strategy, arguments), config
    if not Path(member).is_file():
        raise ConfigError(f"Expected `{argument}` to be a checkpoint, but there is no file {member}.")
    saved = read_saved(member)
    strategy = check_checkpoint(saved, FusionModule, f"`{argument}`, {member},")
    return strategy.load_from_checkpoint(member, map_location="cpu"), saved["hyper_parameters"]
