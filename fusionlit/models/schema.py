"""The schema of the data that a model is made for, its modalities and its target, and of what it predicts."""

from collections.abc import Mapping
from dataclasses import fields
from math import isclose
from typing import Any

from lightning.pytorch.utilities import rank_zero_warn
from torch import nn

from fusionlit.contracts import check_output, check_spec
from fusionlit.errors import ConfigError
from fusionlit.functional import CENTRAL
from fusionlit.types import FusionOutput, ModalitySpec, TargetSpec

RESERVED = {CENTRAL, *dir(nn.ModuleDict()), *dir(nn.ParameterDict())}
"""Names that no modality may have: modules and parameters are held in these by modality."""


def check_modalities(modalities: Mapping[str, ModalitySpec]) -> None:
    """Refuse modalities that a model cannot be made for.

    Raises:
        ConfigError: If there is none, a spec contradicts itself, or a name is no identifier or has another meaning.
    """
    if not modalities:
        raise ConfigError("Expected `modalities` to name at least one modality, but it is empty.")
    for name, spec in modalities.items():
        if not name.isidentifier() or name in RESERVED:
            raise ConfigError(
                f"Expected a modality's name to be letters, digits and _, not {CENTRAL!r} and no attribute of"
                f" torch.nn.ModuleDict or ParameterDict, but got {name!r}. Rename it in the data."
            )
        check_spec(name, spec)


def check_is_target(target: object) -> None:
    """Refuse a target that is none: a checkpoint holds plain configuration, of which annotations make objects again.

    Raises:
        ConfigError: If it is no TargetSpec.
    """
    if not isinstance(target, TargetSpec):
        unlabelled = " Unlabelled data has none: it can be predicted alone, with `fusionlit predict`."
        of_a_checkpoint = (
            " In the constructor of the strategy, annotate it as `target: TargetSpec`: without that, a checkpoint"
            " cannot make one of its configuration."
        )
        raise ConfigError(
            f"Expected `target` to be a TargetSpec, but got {target!r}."
            f"{unlabelled if target is None else of_a_checkpoint if isinstance(target, dict) else ''}"
        )


def check_schema(saved: Mapping[str, ModalitySpec], current: Mapping[str, ModalitySpec]) -> None:
    """Compare the modalities of a checkpoint with those of the data.

    What only one of them states, such as a rate, is no difference. Other names for the same number of channels are
    warned of; the same names in another order are refused.

    Raises:
        ConfigError: If they differ; the message says in what.
    """
    here = {name: spec for name, spec in current.items() if name in saved}
    differences = [f"{name} {spec.shape} is in the checkpoint only" for name, spec in saved.items() if name not in here]
    differences += [f"{name} {spec.shape} is in the data only" for name, spec in current.items() if name not in saved]
    for name, spec in here.items():
        differences += [
            f"{field} of {name} is {before} in the checkpoint, but {now} in the data"
            for field, before, now in differing(saved[name], spec)
            if field != "channels" or sorted(before) == sorted(now)
        ]
    if differences:
        raise ConfigError(f"The checkpoint was trained on other modalities: {'; '.join(differences)}.")
    for name, spec in here.items():
        for field, before, now in differing(saved[name], spec):
            rank_zero_warn(f"{field} of {name} are {list(before)} in the checkpoint, but {list(now)} in the data.")


def differing(a: ModalitySpec, b: ModalitySpec) -> list[tuple[str, Any, Any]]:
    """Fields that both specs state, and state differently, with both values."""
    pairs = [(field.name, getattr(a, field.name), getattr(b, field.name)) for field in fields(ModalitySpec)]
    stated = [(name, x, y) for name, x, y in pairs if x not in (None, ()) and y not in (None, ())]
    return [(name, x, y) for name, x, y in stated if x != y and not _alike(x, y)]


def _alike(a: object, b: object) -> bool:
    """Whether both are rates that differ by less than 1 %, as measured ones do."""
    return isinstance(a, float) and isinstance(b, float) and isclose(a, b, rel_tol=0.01)


def check_order(saved: list[str], current: list[str], model: str) -> None:
    """Refuse the same modalities in another order: the weights of a network depend on it.

    Raises:
        ConfigError: If they are in another order.
    """
    if saved != current:
        raise ConfigError(
            f"Expected the model to have its modalities in the order of the checkpoint, {saved}, but got {current}:"
            f" make it with {model}.load_from_checkpoint(path). The data may have them in any order."
        )


def check_target(saved: TargetSpec, current: TargetSpec) -> None:
    """Compare the target of a checkpoint with that of the data.

    Raises:
        ConfigError: If kind, size, or the names or their order differ; the message says which.
    """
    saved, current = (spec._replace(names=tuple(spec.names)) for spec in (saved, current))
    differences = [
        f"{field} is {before!r} in the checkpoint, but {now!r} in the data"
        for field, before, now in zip(TargetSpec._fields, saved, current, strict=True)
        if before != now
    ]
    if differences:
        raise ConfigError(f"The checkpoint was trained for another target: {'; '.join(differences)}.")


def check_predictions(output: object, model: str, size: int) -> FusionOutput:
    """What a strategy's `fuse` gave, held against what it has promised.

    Raises:
        ConfigError: If it is no FusionOutput with predictions `(B, size)`.
    """
    if not isinstance(output, FusionOutput):
        raise ConfigError(
            f"Expected `fuse` of {model} to give a FusionOutput, but got {type(output).__name__}. Write"
            " `return FusionOutput(prediction)`."
        )
    for name, prediction in {model: output.prediction, **output.unimodal}.items():
        check_output(f"the head of {name}", prediction, (size,), "`target.size`")
    return output
