"""Building blocks of fusion models: encoders and heads per modality, projections to a common shape."""

from collections.abc import Mapping
from contextlib import suppress
from typing import cast

from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn

from fusionlit.contracts import declared, is_shape, make
from fusionlit.encoders import (
    ConvEncoder,
    Encoder,
    EncoderFactory,
    Head,
    HeadFactory,
    MLPEncoder,
    MLPHead,
    StagedEncoder,
)
from fusionlit.errors import ConfigError
from fusionlit.fusion import FusionFactory, FusionOperator, ShapeMismatchError
from fusionlit.types import ModalitySpec, Shape


def default_encoder(shape: Shape) -> Encoder:
    """`ConvEncoder` for sequences and maps, `MLPEncoder` for vectors."""
    return MLPEncoder(shape) if len(shape) == 1 else ConvEncoder(shape)


def make_encoders(
    modalities: Mapping[str, ModalitySpec],
    encoder: EncoderFactory | None,
    encoders: Mapping[str, EncoderFactory] | None,
) -> nn.ModuleDict:
    """One encoder per modality: from `encoders` by name, else from `encoder`, else the default for its shape.

    Raises:
        ConfigError: If `encoders` names an unknown modality, or only some modalities without an `encoder` for the rest;
            if tokens have no encoder.
    """
    named = dict(encoders or {})
    unknown = sorted(set(named) - set(modalities))
    if unknown:
        raise ConfigError(f"Expected `encoders` to name modalities of the data, {list(modalities)}, but got {unknown}.")
    rest = [name for name in modalities if name not in named]
    if named and rest and encoder is None:
        raise ConfigError(f"Expected an encoder for every modality, but {rest} have none: add them, or give `encoder`.")
    check_tokens({name: spec for name, spec in modalities.items() if name in rest and encoder is None})
    return nn.ModuleDict(
        {name: make_encoder(spec.shape, named.get(name, encoder)) for name, spec in modalities.items()}
    )


def check_tokens(without_encoder: Mapping[str, ModalitySpec]) -> None:
    """Check that no modality without an encoder is tokens.

    Raises:
        ConfigError: If one is.
    """
    if tokens := [name for name, spec in without_encoder.items() if spec.whole_numbers]:
        raise ConfigError(
            f"Expected an encoder that embeds the tokens {tokens}, but got none: give each one in `encoders`, an"
            " `Encoder` with an `nn.Embedding`. No default encoder knows the size of the vocabulary."
        )


def make_encoder(shape: Shape, encoder: EncoderFactory | None) -> Encoder:
    """An encoder for a shape; default: `default_encoder`.

    Raises:
        ConfigError: If the factory does not return a valid encoder.
    """
    return make(encoder or default_encoder, Encoder, shape)


def make_heads(shapes: Mapping[str, Shape], size: int, head: HeadFactory | None) -> nn.ModuleDict:
    """One head per shape, from features to `size` outputs; default: linear."""
    return nn.ModuleDict({name: make_head(shape, size, head) for name, shape in shapes.items()})


def make_head(shape: Shape, size: int, head: HeadFactory | None) -> Head:
    """A head from features to `size` outputs; default: linear."""
    return make(head or MLPHead, Head, shape, size)


def out_shapes(encoders: nn.ModuleDict) -> dict[str, Shape]:
    """Output shape of each encoder."""
    return {name: encoder.out_shape for name, encoder in cast(dict[str, Encoder], dict(encoders.items())).items()}


def staged(encoders: nn.ModuleDict, strategy: str) -> dict[str, StagedEncoder]:
    """Check that all encoders are staged and have the same number of stages, and return them.

    Raises:
        ConfigError: If an encoder is not staged, has no stages or not one shape per stage, or the numbers differ.
    """
    result = {name: encoder for name, encoder in encoders.items() if isinstance(encoder, StagedEncoder)}
    plain = [name for name in encoders if name not in result]
    if plain:
        raise ConfigError(
            f"Expected staged encoders for {strategy}, such as ConvEncoder, but those of {plain} are not. Write"
            " `class Name(StagedEncoder)`, which sets `self.stages` (an `nn.ModuleList`) and has `stage_shapes`."
        )
    for name, encoder in result.items():
        stages, shapes = getattr(encoder, "stages", ()), declared(encoder, "stage_shapes")
        if not stages or len(stages) != len(shapes) or not all(map(is_shape, shapes)):
            raise ConfigError(
                f"Expected the encoder of {name!r} to have `self.stages` (an `nn.ModuleList`) and `stage_shapes` (a"
                f" tuple of sizes for each stage), but got {len(stages)} stages and the shapes {shapes!r}."
            )
    depths = {name: len(encoder.stages) for name, encoder in result.items()}
    if len(set(depths.values())) > 1:
        raise ConfigError(f"Expected encoders with the same number of stages for {strategy}, but got {depths}.")
    return result


class Projection(nn.Module):
    """Learned projection of features to another shape.

    For grids of the same rank: adaptive average pooling to the new grid, then a 1x1 convolution. Otherwise: mean over
    the grid, a linear map of the channels, and repetition over the new grid.
    """

    def __init__(self, in_shape: Shape, out_shape: Shape) -> None:
        super().__init__()
        self.grid = out_shape[1:]
        self.same_rank = len(in_shape) == len(out_shape)
        rank = len(self.grid)
        self.pool = (
            {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d}[rank](self.grid) if self.same_rank and rank else None
        )
        self.linear = nn.Linear(in_shape[0], out_shape[0])

    def forward(self, x: Tensor) -> Tensor:
        """Project `(B, *in_shape)` to `(B, *out_shape)`."""
        x = self.pool(x) if self.pool is not None else x.flatten(2).mean(2) if x.ndim > 2 else x
        x = self.linear(x.movedim(1, -1)).movedim(-1, 1)
        return x.reshape(*x.shape, *(1,) * (len(self.grid) + 2 - x.ndim)).expand(*x.shape[:2], *self.grid)


def project(shapes: Mapping[str, Shape], to: Shape, layer: str) -> nn.ModuleDict:
    """A projection for every source whose shape is not `to`; each is logged."""
    projections = nn.ModuleDict()
    for name, shape in shapes.items():
        if shape != to:
            rank_zero_info(f"{layer}: {name} {shape} is mapped to {to} by a learned projection.")
            projections[name] = Projection(shape, to)
    return projections


def apply_projections(projections: nn.ModuleDict, features: dict[str, Tensor]) -> dict[str, Tensor]:
    """Project the features that have a projection."""
    return {name: projections[name](x) if name in projections else x for name, x in features.items()}


def make_fusion(
    factory: FusionFactory, shapes: dict[str, Shape], layer: str = "fusion"
) -> tuple[nn.ModuleDict, FusionOperator]:
    """The operator for these sources, and learned projections to the shape of the first source where it needs them."""
    with suppress(ShapeMismatchError):
        return nn.ModuleDict(), make_operator(factory, shapes)
    reference = next(iter(shapes.values()))
    projections = project(shapes, reference, layer)
    return projections, make_operator(factory, dict.fromkeys(shapes, reference))


def make_operator(factory: FusionFactory, shapes: dict[str, Shape]) -> FusionOperator:
    """The operator for these sources, without projections.

    Raises:
        ConfigError: If the factory does not return a valid operator, or the operator does not accept the shapes.
    """
    return make(factory, FusionOperator, shapes)
