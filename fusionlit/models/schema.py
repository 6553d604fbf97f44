"""The schema of the data that a model is made for: names and shapes of modalities, and the target."""

from torch import nn

from fusionlit.contracts import is_shape
from fusionlit.errors import ConfigError
from fusionlit.functional import CENTRAL
from fusionlit.types import Shape, TargetSpec

RESERVED = {CENTRAL, *dir(nn.ModuleDict()), *dir(nn.ParameterDict())}
"""Names that no modality may have: modules and parameters are held in these by modality."""


def check_names(modalities: dict[str, Shape]) -> None:
    """Refuse modalities that a model cannot be made for.

    Raises:
        ConfigError: If there is none, a shape is none, or a name is no identifier or means something else already.
    """
    if not modalities:
        raise ConfigError("Expected `modalities` to name at least one modality, but it is empty.")
    for name, shape in modalities.items():
        if not is_shape(shape):
            raise ConfigError(f"Expected the shape of {name!r} to be a tuple of sizes, but got {shape!r}.")
        if not name.isidentifier() or name in RESERVED:
            raise ConfigError(
                f"Expected a modality's name to be letters, digits and _, not {CENTRAL!r} and no attribute of"
                f" torch.nn.ModuleDict or ParameterDict, but got {name!r}. Rename it in the data."
            )


def check_is_target(target: object) -> None:
    """Refuse a target that is none: a checkpoint holds plain configuration, of which annotations make objects again.

    Raises:
        ConfigError: If it is no TargetSpec.
    """
    if not isinstance(target, TargetSpec):
        of_a_checkpoint = (
            " In the constructor of the strategy, annotate it as `target: TargetSpec`: without that, a checkpoint"
            " cannot make one of its configuration."
        )
        raise ConfigError(
            f"Expected `target` to be a TargetSpec, but got {target!r}."
            f"{of_a_checkpoint if isinstance(target, dict) else ''}"
        )


def check_schema(saved: dict[str, Shape], current: dict[str, Shape]) -> None:
    """Compare the modalities of a checkpoint with those of the data.

    Raises:
        ConfigError: If names or shapes differ; the message says which.
    """
    differences = [f"{name} {shape} is in the checkpoint only" for name, shape in saved.items() if name not in current]
    differences += [f"{name} {shape} is in the data only" for name, shape in current.items() if name not in saved]
    differences += [
        f"{name} is {saved[name]} in the checkpoint, but {shape} in the data"
        for name, shape in current.items()
        if name in saved and saved[name] != shape
    ]
    if differences:
        raise ConfigError(f"The checkpoint was trained on other modalities: {'; '.join(differences)}.")


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
