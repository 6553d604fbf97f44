"""The contract of a head."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fusionlit.contracts import make
from fusionlit.encoders import Head, HeadFactory
from fusionlit.testing import laws
from fusionlit.testing.cases import BATCH, Case, draw, name_of
from fusionlit.testing.laws import uphold
from fusionlit.types import Shape

MANY, HEADS = 256, 10
"""Samples and initialisations in which every output is to take both signs."""
GROWTH, LARGE = 1e6, 100
"""Factor of the weights, and how large outputs without an activation then are at least."""


def check_head(factory: HeadFactory, in_shape: Shape, out_size: int = 3) -> None:
    """Check the laws of a head.

    Args:
        factory: From the features' shape and the number of outputs to the head: the class itself, or a partial of it.
        in_shape: Shape of one sample's features, without the batch.
        out_size: Number of outputs.

    Raises:
        BrokenLawError: If a law is broken; the message says which, what happened, and what to do.
    """
    uphold(HeadCase(factory, tuple(in_shape), out_size), LAWS)


@dataclass(frozen=True)
class HeadCase(Case):
    """A head for features of one shape."""

    factory: HeadFactory
    in_shape: Shape
    out_size: int
    takes_presence = False

    def __str__(self) -> str:
        return f"{name_of(self.factory)} for features {self.in_shape} and {self.out_size} outputs"

    def make(self) -> Head:
        """The factory's head."""
        return make(self.factory, Head, self.in_shape, self.out_size)

    def inputs(self, batch: int = BATCH) -> dict[str, Tensor]:
        """Normal features."""
        return draw({"features": self.in_shape}, batch)

    def run(self, module: nn.Module, inputs: dict[str, Tensor], presence: dict[str, Tensor] | None = None) -> Tensor:
        """The prediction."""
        out: Tensor = module(inputs["features"])
        return out


def it_is_a_head(case: HeadCase) -> str | None:
    """A head is a subclass of `fusionlit.encoders.Head`."""
    case.make()
    return None


def it_gives_out_size_numbers(case: HeadCase) -> str | None:
    """It predicts `(B, out_size)`, whatever `out_size` is."""
    for size in (1, case.out_size):
        sized = HeadCase(case.factory, case.in_shape, size)
        shape = tuple(sized.run(sized.build(), sized.inputs()).shape)
        if shape != (BATCH, size):
            return f"for `out_size` {size} and a batch of {BATCH} the prediction is {shape}."
    return None


def it_takes_any_strides(case: HeadCase) -> str | None:
    """Features may have any strides, such as channels-last."""
    head = case.build()
    for x in case.inputs().values():
        if x.ndim > 2:
            head(x.movedim(1, -1).contiguous().movedim(-1, 1))  # `view` fails on these
    return None


def no_output_is_bounded(case: HeadCase) -> str | None:
    """Its outputs are logits or regression values: over several heads each takes both signs, and grows with weights."""
    heads = [case.build(seed) for seed in range(HEADS)]
    signs = torch.cat([head(case.inputs(MANY)["features"]) for head in heads]).sign()
    if not ((signs > 0).any(0) & (signs < 0).any(0)).all():
        return f"in {HEADS} heads an output has one sign only. Leave out the activation after the last layer."
    with torch.no_grad():
        for parameter in heads[0].parameters():
            parameter.mul_(GROWTH)
    if (heads[0](case.inputs(MANY)["features"]).abs().amax(0) < LARGE).any():
        return f"with weights {GROWTH:g} times as large an output is below {LARGE}. Leave out the last activation."
    return None


def every_parameter_gets_a_gradient(case: HeadCase) -> str | None:
    """The prediction depends on the features and on every parameter."""
    without, _ = laws.gradients(case)
    return f"it does not on {', '.join(without)}. Is it used, and not detached?" if without else None


LAWS = [
    it_is_a_head,
    it_gives_out_size_numbers,
    it_takes_any_strides,
    laws.a_batch_of_one_stays_one,
    laws.the_result_is_finite,
    laws.everything_is_registered,
    laws.evaluation_changes_nothing,
    laws.samples_do_not_mix,
    laws.state_dict_is_whole,
    no_output_is_bounded,
    every_parameter_gets_a_gradient,
    laws.gradients_are_right,
    laws.compiles_to_one_graph,
]
