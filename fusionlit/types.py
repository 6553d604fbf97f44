"""The words that every part of fusionlit shares: modalities, targets, batches and the output of a strategy."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, NotRequired, TypedDict, get_args

from torch import Tensor

Shape = tuple[int, ...]
"""One sample of one modality, without the batch: `(channels, height, width)`, `(channels, time)`, `(features,)`."""

ModalityKind = Literal["image", "depth", "points", "signal", "sequence", "vector", "tokens"]


@dataclass(frozen=True)
class ModalitySpec:
    """What one modality is: the shape of a sample, and what its numbers mean.

    | kind | shape | numbers |
    |---|---|---|
    | `image` | `(channels, height, width)` | intensities |
    | `depth` | `(channels, height, width)` | distances |
    | `points` | `(channels, height, width)` | a range image of x, y, z and further channels, such as validity |
    | `signal` | `(channels, time)` | samples at a fixed rate |
    | `sequence` | `(features, steps)` | feature vectors in order, without a rate |
    | `vector` | `(features,)` | features |
    | `tokens` | `(length,)` | integers that name entries of a vocabulary; never normalised |

    Args:
        shape: Shape of a sample, without the batch.
        kind: What it is; default: `image`, `signal` or `vector` by the number of dimensions.
        normalize: Whether a model may standardise its channels; default: yes, unless its numbers are tokens.
        channels: Name of each channel (of each feature of a vector), where they are known.
        rate_hz: Samples per second of a signal.
        unit: Unit of its numbers, such as `m/s2`.
    """

    shape: Shape
    kind: ModalityKind | None = None
    normalize: bool | None = None
    channels: tuple[str, ...] = ()
    rate_hz: float | None = None
    unit: str | None = None

    def __post_init__(self) -> None:
        shape = tuple(self.shape) if isinstance(self.shape, list) else self.shape  # a list, as configuration has it
        ranks: dict[int, ModalityKind] = {1: "vector", 2: "signal", 3: "image"}
        by_rank = ranks.get(len(shape)) if isinstance(shape, tuple) else None
        kind = self.kind or by_rank
        normalize = kind != "tokens" if self.normalize is None else self.normalize
        known = {"shape": shape, "kind": kind, "normalize": normalize, "channels": tuple(self.channels)}
        for name, value in known.items():
            object.__setattr__(self, name, value)

    @property
    def whole_numbers(self) -> bool:
        """Whether its numbers are integers, which no model may average or scale."""
        return self.kind == "tokens"


Modalities = Mapping[str, ModalitySpec | Shape]
"""Each modality by its name; a bare shape stands for a spec of that shape."""


def as_specs(modalities: Modalities) -> dict[str, ModalitySpec]:
    """Each modality as a spec; a mapping is one as configuration has it."""

    def as_spec(given: Any) -> ModalitySpec:  # noqa: ANN401 (what an annotation has not made a spec)
        if isinstance(given, ModalitySpec):
            return given
        return ModalitySpec(**given) if isinstance(given, Mapping) else ModalitySpec(given)

    return {name: as_spec(given) for name, given in modalities.items()}


def shapes_of(modalities: Modalities) -> dict[str, Shape]:
    """Shape of each modality."""
    return {name: spec.shape for name, spec in as_specs(modalities).items()}


Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
TargetKind = Literal["multiclass", "binary", "multilabel", "regression"]


class TargetSpec(NamedTuple):
    """What a data set asks to be predicted.

    Args:
        kind: `multiclass` (one of `size` classes), `binary` (one logit), `multilabel` (`size` independent labels)
            or `regression` (`size` real numbers).
        size: Number of outputs of a model for this target.
        names: One name per output (`binary`: the negative and the positive class); may be empty.
    """

    kind: TargetKind
    size: int
    names: tuple[str, ...] = ()


class Batch(TypedDict):
    """What travels from a data module to a model: a plain nested dict, so that collation and DDP need no code of ours.

    `inputs[name]` is `(B, *shape)`, floats, or integers where the modality is tokens;
    `target` is `(B,)` long for `multiclass`, `(B,)` for `binary`, else `(B, size)`; unlabelled data has none;
    `presence[name]` is `(B,)` bool, true where the sample really has the modality (left out: all are there);
    `index` is `(B,)` long, the sample's stable id in the data set.
    """

    inputs: dict[str, Tensor]
    index: Tensor
    target: NotRequired[Tensor]
    presence: NotRequired[dict[str, Tensor]]


Energy = dict[str, dict[str, Tensor]]
"""Mean square of each weighted source at each fusion layer: `energy[layer][source]` is `(B,)`."""


class FusionOutput(NamedTuple):
    """What a strategy makes of a batch of inputs.

    Args:
        prediction: `(B, size)`, logits or regression values.
        unimodal: Prediction `(B, size)` of each modality's own unimodal head; empty without such heads.
        energy: Filled only while a callback measures, so that the training step stays clean.
        central: Prediction `(B, size)` of CentralNet's central network alone, where `prediction` is another one.
    """

    prediction: Tensor
    unimodal: dict[str, Tensor] = {}  # noqa: RUF012 (a NamedTuple default; never mutated)
    energy: Energy | None = None
    central: Tensor | None = None


class ChannelStatistics(NamedTuple):
    """Mean and standard deviation of each channel (first dimension) of one modality, both `(channels,)`."""

    mean: Tensor
    std: Tensor
