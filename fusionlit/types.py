"""The words that every part of fusionlit shares: shapes, targets, batches and the output of a strategy."""

from typing import Literal, NamedTuple, NotRequired, TypedDict, get_args

from torch import Tensor

Shape = tuple[int, ...]
"""One sample of one modality, without the batch: `(channels, height, width)`, `(channels, time)`, `(features,)`."""

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

    `inputs[name]` is `(B, *shape)`; `target` is `(B,)` long for `multiclass`, `(B,)` for `binary`, else `(B, size)`;
    `presence[name]` is `(B,)` bool, true where the sample really has the modality (left out: all are there);
    `index` is `(B,)` long, the sample's stable id in the data set.
    """

    inputs: dict[str, Tensor]
    target: Tensor
    index: Tensor
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
