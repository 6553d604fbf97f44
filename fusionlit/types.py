"""Types shared by all of fusionlit: modalities, targets, batches, and the output of a fusion model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, NotRequired, TypedDict, get_args

from torch import Tensor

Shape = tuple[int, ...]
"""Shape of a sample without the batch dimension: `(channels, height, width)`, `(channels, time)`, `(features,)`."""

ModalityKind = Literal["image", "depth", "points", "signal", "sequence", "vector", "tokens"]


@dataclass(frozen=True)
class ModalitySpec:
    """Description of a modality: the shape of a sample and the meaning of its values.

     | kind | shape | values |
    |---|---|---|
    | `image` | `(channels, height, width)` | intensities |
    | `depth` | `(channels, height, width)` | distances |
     | `points` | `(channels, height, width)` | a range image of x, y, z and extra channels, such as validity |
    | `signal` | `(channels, time)` | samples at a fixed rate |
     | `sequence` | `(features, steps)` | ordered feature vectors without a fixed rate |
    | `vector` | `(features,)` | features |
     | `tokens` | `(length,)` | integer indices into a vocabulary; never normalised |

    Args:
        shape: Shape of a sample without the batch dimension.
        kind: Kind of the modality; default by the number of dimensions: `vector` (1), `signal` (2) or `image` (3).
        normalize: Whether a model may standardise its channels; default: True, except for tokens.
        channels: Name of each channel, or of each feature of a vector; empty if unknown.
        rate_hz: Sampling rate of a signal (Hz).
        unit: Unit of its values, such as `m/s2`.
    """

    shape: Shape
    kind: ModalityKind | None = None
    normalize: bool | None = None
    channels: tuple[str, ...] = ()
    rate_hz: float | None = None
    unit: str | None = None

    def __post_init__(self) -> None:
        shape = tuple(self.shape) if isinstance(self.shape, list) else self.shape  # YAML gives a list
        ranks: dict[int, ModalityKind] = {1: "vector", 2: "signal", 3: "image"}
        by_rank = ranks.get(len(shape)) if isinstance(shape, tuple) else None
        kind = self.kind or by_rank
        normalize = kind != "tokens" if self.normalize is None else self.normalize
        known = {"shape": shape, "kind": kind, "normalize": normalize, "channels": tuple(self.channels or ())}
        for name, value in known.items():
            object.__setattr__(self, name, value)

    @property
    def whole_numbers(self) -> bool:
        """Whether its values are integer indices, which must not be averaged or scaled."""
        return self.kind == "tokens"


Modalities = Mapping[str, ModalitySpec | Shape]
"""Modality specs by name; a bare shape is short for a spec of that shape."""


def as_specs(modalities: Modalities) -> dict[str, ModalitySpec]:
    """Modalities with every bare shape, or mapping of a configuration, turned into a spec."""

    def as_spec(given: Any) -> ModalitySpec:  # noqa: ANN401 (a spec, a shape or a mapping)
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
    """The prediction target of a data set.

    Args:
        kind: `multiclass` (one of `size` classes), `binary` (one logit), `multilabel` (`size` independent labels)
            or `regression` (`size` real numbers).
        size: Number of model outputs for this target.
        names: One name per output (for `binary`: the negative and the positive class); may be empty.
    """

    kind: TargetKind
    size: int
    names: tuple[str, ...] = ()


class Batch(TypedDict):
    """A batch, from data module to model: a plain nested dict, so that collation and DDP work unchanged.

    `inputs[name]` is `(B, *shape)`, float, or integer for tokens;
    `target` is `(B,)` long for `multiclass`, `(B,)` for `binary`, else `(B, size)`; omitted for unlabelled data;
    `presence[name]` is `(B,)` bool, true where the sample has the modality (omitted: all are present);
    `index` is `(B,)` long, the stable index of the sample in the data set.
    """

    inputs: dict[str, Tensor]
    index: Tensor
    target: NotRequired[Tensor]
    presence: NotRequired[dict[str, Tensor]]


Energy = dict[str, dict[str, Tensor]]
"""Mean square of each weighted source at each fusion layer: `energy[layer][source]` is `(B,)`."""


class FusionOutput(NamedTuple):
    """Output of a fusion model for a batch.

    Args:
        prediction: `(B, size)`, logits or regression values.
        unimodal: Prediction `(B, size)` of each unimodal head, by modality; empty without such heads.
        energy: Energy of the weighted sources; None unless a callback is measuring, so that training is not slowed.
        central: Prediction `(B, size)` of CentralNet's central network alone, if `prediction` differs from it.
    """

    prediction: Tensor
    unimodal: dict[str, Tensor] = {}  # noqa: RUF012 (a NamedTuple default; never mutated)
    energy: Energy | None = None
    central: Tensor | None = None


class ChannelStatistics(NamedTuple):
    """Mean and standard deviation of each channel (first dimension) of one modality, both `(channels,)`."""

    mean: Tensor
    std: Tensor
