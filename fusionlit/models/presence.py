"""Which modalities a sample has, and what stands in for those that it lacks."""

from collections.abc import Iterable, Mapping
from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn

from fusionlit.contracts import check_output, check_presence
from fusionlit.errors import ConfigError
from fusionlit.functional import per_sample
from fusionlit.fusion import Features, Presence
from fusionlit.types import Batch, Shape

AbsentForm = Literal["zero", "token"]

INITIAL_STD = 0.02
"""Deviation of a token at the start: as good as zero, and yet with a direction that `unit_rms` can scale."""


class StandIns(nn.Module):
    """What stands in for the features of a modality that a sample lacks, `(B, *shape)`.

    - `zero`: zeros, and the operator is told that the source is absent: it leaves it out, so that weights are
      renormalised over the others, and a product goes without that factor.
    - `token`: one learned number a channel, the same at every position, `(C, 1, ..., 1)`. The token is the source: the
      operator is told that all are there, and weights it, multiplies it and counts its energy as it would any features.
      A token begins near zero, and so does a product with it: `zero` goes better with `Hadamard` and `MatMul`.

    Tokens are part of every step, with a gradient of zeros where nothing is absent: DDP needs no
    `find_unused_parameters`.

    Args:
        shapes: Shape of each modality's features without the batch.
        absent: What stands in.

    Raises:
        ConfigError: If `absent` is neither of the two.
    """

    def __init__(self, shapes: Mapping[str, Shape], absent: AbsentForm) -> None:
        super().__init__()
        if absent not in get_args(AbsentForm):
            raise ConfigError(f"Expected `absent` to be one of {get_args(AbsentForm)}, but got {absent!r}.")
        self.shapes = dict(shapes)
        self.learned = absent == "token"
        self.tokens = nn.ParameterDict(
            {name: INITIAL_STD * torch.randn(shape[0], *(1,) * (len(shape) - 1)) for name, shape in shapes.items()}
            if self.learned
            else {}
        )

    def forward(self, features: Features, presence: Presence | None) -> tuple[Features, Presence | None]:
        """The features with what stands in for the absent ones, and the presence that the operator is told.

        Raises:
            ConfigError: If features are not of the shape that their encoder has told.
        """
        for name, x in features.items():
            check_output(f"the encoder of {name!r}", x, self.shapes[name], "its `out_shape` or `stage_shapes`")
        if self.learned:
            presence = complete(presence, features)
            tokens = cast(dict[str, Tensor], self.tokens)
            return {name: _where(presence[name], x, tokens[name].to(x.dtype)) for name, x in features.items()}, None
        return zero_absent(features, presence), presence


def complete(presence: Presence | None, inputs: Features) -> Presence:
    """Presence `(B,)` of every one of `inputs` `(B, ...)`: what `presence` does not name is always there."""
    given = presence or {}
    return {name: given.get(name, x.new_ones(x.shape[0], dtype=torch.bool)) for name, x in inputs.items()}


def zero_absent(features: Features, presence: Presence | None) -> Features:
    """Zeros in place of what is absent."""
    return features if presence is None else {name: _where(presence[name], x, 0.0) for name, x in features.items()}


def drop(presence: Presence, probability: Mapping[str, float]) -> Presence:
    """Let samples lose modalities at random, but never all that they have.

    Each modality that a sample has is dropped with its own probability p_k, independently. Where all n of them would
    go, one of them stays, each as likely as the others: so k is lost with probability `p_k - prod_j p_j / n`.

    Shapes: `presence[name]` `(B,)` bool, the result too; drawn by torch's generator on their device.
    """
    there = torch.stack(list(presence.values()), dim=1)
    chance, lot = torch.rand(2, *there.shape, dtype=torch.float32, device=there.device)
    # Plain numbers, modality by modality: a tensor of them would have to be copied to the device.
    stays = torch.stack([chance[:, k] >= probability[name] for k, name in enumerate(presence)], dim=1) & there
    drawn = lot.where(there, -1.0).argmax(dim=1, keepdim=True)
    last = there & (torch.arange(there.shape[1], device=there.device) == drawn)
    kept = torch.where(stays.any(dim=1, keepdim=True), stays, last)
    return dict(zip(presence, kept.unbind(1), strict=True))


def drop_modalities(batch: Batch, probability: Mapping[str, float]) -> Batch:
    """The batch whose samples have lost modalities at random (`drop`), each of those that `probability` names.

    Raises:
        DataError: If the batch's presence does not fit its inputs.
    """
    presence = _presence_of(batch, probability)
    return {**batch, "presence": drop(presence, probability)}


def without_samples(batch: Batch, samples: Tensor, names: Iterable[str]) -> Batch:
    """The batch with all modalities of some samples `(B,)` absent."""
    return {**batch, "presence": {name: there & ~samples for name, there in _presence_of(batch, names).items()}}


def _presence_of(batch: Batch, names: Iterable[str]) -> Presence:
    inputs, presence = {name: batch["inputs"][name] for name in names}, batch.get("presence", {})
    check_presence(presence, inputs)
    return complete(presence, inputs)


def _where(there: Tensor, x: Tensor, other: float | Tensor) -> Tensor:
    return torch.where(per_sample(there, x), x, other)
