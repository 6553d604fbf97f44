"""Schema of a model: its modalities, target and predictions, compared with those of data and checkpoints."""

from collections.abc import Mapping
from dataclasses import fields
from math import isclose
from typing import Any, get_args, get_type_hints

from lightning.pytorch.utilities import rank_zero_warn
from torch import nn

from fusionlit.contracts import check_output, check_spec
from fusionlit.errors import ConfigError
from fusionlit.functional import CENTRAL
from fusionlit.types import FusionOutput, Modalities, ModalitySpec, TargetSpec

RESERVED = {CENTRAL, *dir(nn.ModuleDict()), *dir(nn.ParameterDict())}
"""Names that no modality may have: attributes of the containers that are keyed by modality."""


def check_modalities(modalities: Mapping[str, ModalitySpec]) -> None:
    """Check the modalities of a model.

    Raises:
        ConfigError: If there are none, a spec is inconsistent, or a name is not an identifier or is reserved.
    """
    if not modalities:
        raise ConfigError("Expected `modalities` to name at least one modality, but it is empty.")
    for name, spec in modalities.items():
        if not name.isidentifier() or name in RESERVED:
            raise ConfigError(
                f"Expected the name of a modality to be a Python identifier other than {CENTRAL!r} and the attributes"
                f" of torch.nn.ModuleDict and ParameterDict, but got {name!r}. Rename it in the data."
            )
        check_spec(name, spec)


def check_annotation(model: type, modalities: Modalities) -> None:
    """Check that a model's constructor, as it annotates `modalities`, can be given these from a configuration.

    Raises:
        ConfigError: If there are specs, and the annotation has no place for them: a checkpoint could not be loaded.
    """
    try:
        hint = get_type_hints(model.__init__).get("modalities", Any)  # type: ignore[misc]  # of the class itself
    except Exception:  # a name for type checkers only, or whatever else an annotation does
        return
    if any(isinstance(each, ModalitySpec) for each in modalities.values()) and not _takes_specs(hint):
        raise ConfigError(
            f"Expected `modalities` of {model.__module__}.{model.__qualname__} to be annotated as"
            f" `fusionlit.types.Modalities`, but got {hint}. The model then has the bare shapes as `self.shapes`."
        )


def _takes_specs(hint: Any) -> bool:  # noqa: ANN401 (any type hint)
    args = get_args(hint)
    return hint in (Any, object, ModalitySpec) or any(map(_takes_specs, args)) or (not args and hint in (dict, Mapping))


def check_is_target(target: object) -> None:
    """Check that the target is a TargetSpec; from a checkpoint's plain configuration, type annotations rebuild it.

    Raises:
        ConfigError: If it is not.
    """
    if not isinstance(target, TargetSpec):
        unlabelled = (
            " Give the data module a property `target: TargetSpec`. Unlabelled data has none and can only be predicted,"
            " by `fusionlit predict` with a checkpoint."
        )
        of_a_checkpoint = (
            " In the constructor of the model, annotate it as `target: TargetSpec`: otherwise, it cannot be rebuilt"
            " from the configuration in a checkpoint."
        )
        raise ConfigError(
            f"Expected `target` to be a TargetSpec, but got {target!r}."
            f"{unlabelled if target is None else of_a_checkpoint if isinstance(target, dict) else ''}"
        )


def check_schema(saved: Mapping[str, ModalitySpec], current: Mapping[str, ModalitySpec]) -> None:
    """Compare the modalities of a checkpoint with those of the data.

    A field that only one of them states, such as a rate, is not a difference. Different channel names cause a warning;
    the same names in a different order cause an error.

    Raises:
        ConfigError: If they differ; the message lists the differences.
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
    """Fields that both specs state with different values, and the two values."""
    pairs = [(field.name, getattr(a, field.name), getattr(b, field.name)) for field in fields(ModalitySpec)]
    stated = [(name, x, y) for name, x, y in pairs if x not in (None, ()) and y not in (None, ())]
    usual = {ModalitySpec(spec.shape).kind for spec in (a, b)}  # which a bare shape has: it states no kind
    if a.whole_numbers == b.whole_numbers and usual & {a.kind, b.kind}:
        stated = [each for each in stated if each[0] != "kind"]
    # Measured rates differ a little.
    return [(name, x, y) for name, x, y in stated if x != y and not (name == "rate_hz" and isclose(x, y, rel_tol=0.01))]


def check_order(saved: list[str], current: list[str], model: str) -> None:
    """Check that the modalities are in the order of the checkpoint, on which the weights depend.

    Raises:
        ConfigError: If they are not.
    """
    if saved != current:
        raise ConfigError(
            f"Expected the modalities of the model in the order of the checkpoint, {saved}, but got {current}: load it"
            f" with {model}.load_from_checkpoint(path). The data may have them in any order."
        )


def check_target(saved: TargetSpec, current: TargetSpec) -> None:
    """Compare the target of a checkpoint with that of the data.

    Raises:
        ConfigError: If kind, size, or names (or their order) differ; the message lists the differences.
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
    """Check the output of a model's `fuse`, and return it.

    Raises:
        ConfigError: If it is not a FusionOutput with predictions `(B, size)`.
    """
    if not isinstance(output, FusionOutput):
        raise ConfigError(
            f"Expected `fuse` of {model} to return a FusionOutput, but got {type(output).__name__}. Write"
            " `return FusionOutput(prediction)`."
        )
    for name, prediction in {model: output.prediction, **output.unimodal}.items():
        check_output(f"the head of {name}", prediction, (size,), "`target.size`")
    return output
