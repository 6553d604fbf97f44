"""Presence of modalities, replacements for missing ones, and modality dropout."""

from collections.abc import Iterable, Mapping
from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn

from fusionlit.contracts import check_output, check_presence
from fusionlit.errors import ConfigError
from fusionlit.functional import per_sample
from fusionlit.fusion import Features, Presence
from fusionlit.types import Batch, Shape

MissingForm = Literal["zero", "token"]

INITIAL_STD = 0.02
"""Initial standard deviation of a token: close to zero, but with a direction that `unit_rms` can scale."""


class Imputation(nn.Module):
    """Replaces the features `(B, *shape)` of missing modalities.

    - `zero`: zeros, with the source marked as missing: the operator leaves it out, renormalising its weights or
      omitting a factor.
    - `token`: one learned value per channel, the same at every position, `(C, 1, ..., 1)`. The token is the source: all
      sources are marked as present, and the operator treats it like any features, also in energies. Tokens start near
      zero, and so do products with them: `zero` suits `Hadamard` and `MatMul` better.

    Tokens are part of every step, with zero gradients if nothing is missing: DDP needs no `find_unused_parameters`.

    Args:
        shapes: Shape of each modality's features, without the batch dimension.
        missing: The replacement, `zero` or `token`.

    Raises:
        ConfigError: If `missing` is invalid.
    """

    def __init__(self, shapes: Mapping[str, Shape], missing: MissingForm) -> None:
        super().__init__()
        if missing not in get_args(MissingForm):
            raise ConfigError(f"Expected `missing` to be one of {get_args(MissingForm)}, but got {missing!r}.")
        self.shapes = dict(shapes)
        self.learned = missing == "token"
        self.tokens = nn.ParameterDict(
            {name: INITIAL_STD * torch.randn(shape[0], *(1,) * (len(shape) - 1)) for name, shape in shapes.items()}
            if self.learned
            else {}
        )

    def forward(self, features: Features, presence: Presence | None) -> tuple[Features, Presence | None]:
        """Features with missing ones replaced, and the presence to pass to the operator.

        Raises:
            ConfigError: If features do not have the shape that their encoder declares.
        """
        for name, x in features.items():
            check_output(f"the encoder of {name!r}", x, self.shapes[name], "its `out_shape` or `stage_shapes`")
        if self.learned:
            presence = complete(presence, features)
            tokens = cast(dict[str, Tensor], self.tokens)
            filled = {
                name: torch.where(per_sample(presence[name], x), x, tokens[name].to(x.dtype))
                for name, x in features.items()
            }
            return filled, None
        return zero_missing(features, presence), presence


def complete(presence: Presence | None, inputs: Features) -> Presence:
    """Presence `(B,)` of each of `inputs` `(B, ...)`; inputs that `presence` omits are present."""
    given = presence or {}
    return {name: given.get(name, x.new_ones(x.shape[0], dtype=torch.bool)) for name, x in inputs.items()}


def zero_missing(features: Features, presence: Presence | None) -> Features:
    """Features with zeros in place of missing ones."""
    if presence is None:
        return features
    return {name: x.masked_fill(~per_sample(presence[name], x), 0) for name, x in features.items()}


def drop(presence: Presence, probability: Mapping[str, float]) -> Presence:
    """Drop modalities of samples at random, but never all of a sample.

    Each present modality k is dropped independently with probability p_k. If all n would be dropped, one of them is
    kept, chosen uniformly, so that k is dropped with probability `p_k - prod_j p_j / n`.

    Shapes: `presence[name]` `(B,)` bool, result the same; drawn with torch's generator on their device.
    """
    there = torch.stack(list(presence.values()), dim=1)
    chance, lot = torch.rand(2, *there.shape, dtype=torch.float32, device=there.device)
    # Python numbers, one modality at a time: a tensor would have to be copied to the device.
    stays = torch.stack([chance[:, k] >= probability[name] for k, name in enumerate(presence)], dim=1) & there
    drawn = lot.where(there, -1.0).argmax(dim=1, keepdim=True)
    last = there & (torch.arange(there.shape[1], device=there.device) == drawn)
    kept = torch.where(stays.any(dim=1, keepdim=True), stays, last)
    return dict(zip(presence, kept.unbind(1), strict=True))


def drop_modalities(batch: Batch, probability: Mapping[str, float]) -> Batch:
    """The batch with the modalities in `probability` dropped at random (`drop`).

    Raises:
        DataError: If the batch's presence does not fit its inputs.
    """
    presence = _presence_of(batch, probability)
    return {**batch, "presence": drop(presence, probability)}


def without_samples(batch: Batch, samples: Tensor, names: Iterable[str]) -> Batch:
    """The batch with the modalities `names` of the samples `(B,)` marked as missing."""
    return {**batch, "presence": {name: there & ~samples for name, there in _presence_of(batch, names).items()}}


def _presence_of(batch: Batch, names: Iterable[str]) -> Presence:
    inputs, presence = {name: batch["inputs"][name] for name in names}, batch.get("presence", {})
    check_presence(presence, inputs)
    return complete(presence, inputs)
