"""Contract of encoders."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fusionlit.contracts import make
from fusionlit.encoders import Encoder, EncoderFactory, StagedEncoder
from fusionlit.testing import laws
from fusionlit.testing.cases import BATCH, Case, close, draw, name_of
from fusionlit.testing.laws import uphold
from fusionlit.types import Shape

SMALL = 20_000
"""Maximum number of parameters for which gradients are compared with finite differences."""


def check_encoder(factory: EncoderFactory, in_shape: Shape) -> None:
    """Check the laws of an encoder, and those of its stages if it is staged.

    Args:
        factory: Function of the input shape that returns the encoder: the class itself, or a partial.
        in_shape: Shape of one input, without the batch dimension.

    Raises:
        BrokenLawError: If a law is broken; the message says which, what happened, and what to do.
    """
    case = EncoderCase(factory, tuple(in_shape))
    uphold(case, [it_is_an_encoder, *LAWS])
    if isinstance(case.build(), StagedEncoder):
        uphold(case, STAGED_LAWS)
    if sum(p.numel() for p in case.build().parameters()) <= SMALL:
        uphold(case, [laws.gradients_are_right])
    uphold(case, [laws.compiles_to_one_graph])


@dataclass(frozen=True)
class EncoderCase(Case):
    """An encoder for inputs of one shape."""

    factory: EncoderFactory
    in_shape: Shape
    takes_presence = False

    def __str__(self) -> str:
        return f"{name_of(self.factory)} for inputs {self.in_shape}"

    def make(self) -> Encoder:
        """The factory's encoder."""
        return make(self.factory, Encoder, self.in_shape)

    def inputs(self, batch: int = BATCH) -> dict[str, Tensor]:
        """Standard normal inputs."""
        return draw({"x": self.in_shape}, batch)

    def run(self, module: nn.Module, inputs: dict[str, Tensor], presence: dict[str, Tensor] | None = None) -> Tensor:
        """The features."""
        out: Tensor = module(inputs["x"])
        return out


def it_is_an_encoder(case: EncoderCase) -> str | None:
    """An encoder is a subclass of `fusionlit.encoders.Encoder`."""
    case.make()
    return None


def every_parameter_gets_a_gradient(case: EncoderCase) -> str | None:
    """The features depend on the input and on every parameter."""
    without, _ = laws.gradients(case)
    return f"they do not depend on {', '.join(without)}. Is it used, and not detached?" if without else None


def precision_follows_the_input(case: EncoderCase) -> str | None:
    """The features have the dtype of the input, and in float32 they agree with those in float64 to within 1e-3."""
    exact = case.run(case.build(), case.inputs())
    out = case.run(case.build().float(), {name: x.float() for name, x in case.inputs().items()})
    if (exact.dtype, out.dtype) != (torch.float64, torch.float32):
        return f"inputs in float64 and float32 gave {exact.dtype} and {out.dtype}."
    error = ((out.double() - exact).square().mean().sqrt() / exact.square().mean().sqrt()).item()
    return None if error <= 1e-3 else f"they are off by {error:.3g}."


def stage_shapes_are_the_stages(case: EncoderCase) -> str | None:
    """`stage_shapes` are the output shapes of `stages`, without the batch dimension."""
    encoder, x, shapes = case.build(), case.inputs()["x"], []
    for stage in encoder.stages:
        x = stage(x)
        shapes.append(tuple(x.shape[1:]))
    promised = list(encoder.stage_shapes)
    return None if promised == shapes else f"`stage_shapes` are {promised}, but the stages return {shapes}."


def the_stages_are_all(case: EncoderCase) -> str | None:
    """The stages in sequence are the whole encoder and hold all of its parameters."""
    encoder, x = case.build(), case.inputs()["x"]
    whole = encoder(x)
    for stage in encoder.stages:
        x = stage(x)
    if not close(x, whole):
        return "its forward differs from the stages in sequence."
    own = {id(p) for p in encoder.stages.parameters()}
    beside = [name for name, p in encoder.named_parameters() if id(p) not in own]
    return f"{beside} are not in any stage." if beside else None


LAWS = [
    laws.out_shape_is_the_outputs,
    laws.a_batch_of_one_stays_one,
    laws.the_result_is_finite,
    laws.everything_is_registered,
    laws.evaluation_changes_nothing,
    laws.samples_do_not_mix,
    laws.state_dict_is_whole,
    every_parameter_gets_a_gradient,
    precision_follows_the_input,
]
STAGED_LAWS = [stage_shapes_are_the_stages, the_stages_are_all]
