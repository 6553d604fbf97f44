"""The contract of a fusion operator."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fusionlit.contracts import make
from fusionlit.errors import ConfigError
from fusionlit.fusion import FusionFactory, FusionOperator
from fusionlit.models.presence import complete
from fusionlit.testing import absence, laws
from fusionlit.testing.cases import BATCH, Case, close, draw, name_of, reseed, subsets
from fusionlit.testing.laws import uphold
from fusionlit.types import Shape

KINDS: list[Shape] = [(6,), (4, 5), (3, 4, 4)]
UNLIKE: list[dict[str, Shape]] = [{"a": (5,), "b": (6,), "c": (7,)}, {"a": (3, 4, 4), "b": (5, 6), "c": (7,)}]
TRIED = [dict.fromkeys("abc"[:n], shape) for shape in KINDS for n in (3, 2, 1)] + UNLIKE
KINDS_WIDE: list[Shape] = [(32,), (32, 6), (32, 6, 6)]
WIDE = [[dict.fromkeys("abcdefgh"[:n], shape) for n in range(2, 9)] for shape in KINDS_WIDE]


def check_operator(factory: FusionFactory, shapes: dict[str, Shape] | None = None, symmetric: bool = False) -> None:
    """Try the laws of a fusion operator.

    Without `shapes` it is tried on one to three vectors, sequences and maps, alike and unlike: what it refuses with a
    `ConfigError` is left out, as long as it takes any.

    Args:
        factory: From the sources' shapes to the operator: the class itself, or a partial of it.
        shapes: The sources to try it on; small, as gradients are checked by finite differences.
        symmetric: The order in which the sources are named must not matter at the start.

    Raises:
        BrokenLawError: If a law is broken; the message says which, what came, and what to do.
    """
    uphold(OperatorCases(factory, [shapes] if shapes else TRIED), [what_does_not_fit_is_refused])
    taken = OperatorCases(factory, [shapes] if shapes else accepted(factory, TRIED))
    for case in taken:
        uphold(case, [*LAWS, *([order_of_the_sources_does_not_matter] if symmetric else [])])
    uphold(taken, [everything_gets_a_gradient])
    wide = [shapes] if shapes else next((kind for tried in WIDE if (kind := accepted(factory, tried))), [])
    uphold(OperatorCases(factory, wide), [the_output_begins_at_a_useful_scale])
    uphold(next(iter(taken)), [laws.compiles_to_one_graph])


@dataclass(frozen=True)
class OperatorCase(Case):
    """An operator for sources of some shapes."""

    factory: FusionFactory
    shapes: dict[str, Shape]

    def __str__(self) -> str:
        return f"{name_of(self.factory)} of {self.shapes}"

    def make(self) -> FusionOperator:
        """The factory's operator."""
        return make(self.factory, FusionOperator, dict(self.shapes))

    def inputs(self, batch: int = BATCH) -> dict[str, Tensor]:
        """Normal features."""
        return draw(self.shapes, batch)

    def run(self, module: nn.Module, inputs: dict[str, Tensor], presence: dict[str, Tensor] | None = None) -> Tensor:
        """The fused features."""
        out: Tensor = module(inputs, presence)
        return out

    def wide_inputs(self, alike: bool) -> dict[str, Tensor]:
        """Many normal features in float32, at each position of a grid alike or not."""
        shapes = {name: (shape[0], *(1,) * (len(shape) - 1)) if alike else shape for name, shape in self.shapes.items()}
        drawn = draw(shapes, 256)
        return {name: drawn[name].float().expand(-1, *shape) for name, shape in self.shapes.items()}


@dataclass(frozen=True)
class OperatorCases:
    """An operator for sources of several shapes."""

    factory: FusionFactory
    shapes: list[dict[str, Shape]]

    def __str__(self) -> str:
        return name_of(self.factory)

    def __iter__(self) -> Iterator[OperatorCase]:
        return (OperatorCase(self.factory, shapes) for shapes in self.shapes)


def accepted(factory: FusionFactory, tried: Iterable[dict[str, Shape]]) -> list[dict[str, Shape]]:
    """The shapes that the operator does not refuse."""
    taken = []
    for shapes in tried:
        with suppress(ConfigError):
            factory(dict(shapes))
            taken.append(shapes)
    return taken


def what_does_not_fit_is_refused(cases: OperatorCases) -> str | None:
    """An operator is a `FusionOperator`; what it cannot fuse it refuses when it is built, with a ConfigError."""
    taken = accepted(cases.factory, cases.shapes)
    if not taken:
        return f"it refuses all of {cases.shapes}. Give `shapes` that it takes."
    OperatorCase(cases.factory, taken[0]).make()
    if accepted(cases.factory, [{}]):
        return "it takes no source at all. Call `super().__init__(shapes)`, which refuses that."
    return None


def order_of_the_sources_does_not_matter(case: OperatorCase) -> str | None:
    """The order in which the sources are named does not matter at the start, with the same parameters by name."""
    reseed()
    operator = case.make().double().eval()
    mirrored = case.factory(dict(reversed(case.shapes.items()))).double().eval()
    mirrored.load_state_dict(operator.state_dict())
    if close(case.run(mirrored, case.inputs()), case.run(operator, case.inputs())):
        return None
    return "it gives another result when they are named in reverse."


def half_precision_stays_close(case: OperatorCase) -> str | None:
    """In float16, bfloat16 and float32 the output has the features' dtype, is finite, and stays within 16 epsilons.

    That is, the root mean square of its difference from float64, over that of the output.
    """
    exact = case.run(case.build(), case.inputs())
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        out = case.run(case.build().to(dtype), {name: x.to(dtype) for name, x in case.inputs().items()})
        if out.dtype != dtype:
            return f"of {dtype} it makes {out.dtype}. Return the output in the dtype of the features."
        error = ((out.double() - exact).square().mean().sqrt() / exact.square().mean().sqrt()).item()
        if not error <= 16 * torch.finfo(dtype).eps:
            return f"in {dtype} it is off by {error:.3g}. Compute products and sums of many in float32."
    return None


def weights_and_energies_are_told_by_source(case: OperatorCase) -> str | None:
    """Fusion weights and energies are told for every source by its name, in order, or for none.

    Energies are those of each sample, none of what is absent; `has_energy` says whether there are any.
    """
    operator, inputs = case.build(), case.inputs()
    weights, energy = operator.fusion_weights(), operator.energy(inputs, complete(None, inputs))
    for what, told in (("fusion_weights", weights), ("energy", energy)):
        if list(told) not in ([], list(case.shapes)):
            return f"`{what}` names {list(told)}."
        if not all(x.isfinite().all() for x in told.values()):
            return f"`{what}` holds {told}."
    if operator.has_energy != bool(energy):
        return f"`has_energy` is {operator.has_energy}, and `energy` tells {list(energy)}. Override both, or none."
    presence = subsets(list(case.shapes))
    energy = operator.energy(case.inputs(absence.samples(presence)), presence)
    for name, x in energy.items():
        there = presence[name]
        if x.shape != there.shape or x[~there].any() or not (x[there] > 0).all():
            return f"`energy` of {name!r} is {x.tolist()}, where it is there as {there.tolist()}."
    return None


def fusion_parameters_are_those_behind_the_weights(case: OperatorCase) -> str | None:
    """`fusion_parameters` are the parameters behind `fusion_weights`: they get an optimizer group of their own."""
    operator = case.build()
    own = {id(p) for p in operator.fusion_parameters()}
    told = [w.square().sum() for w in operator.fusion_weights().values() if w.requires_grad]
    named = {name: p for name, p in operator.named_parameters() if p.requires_grad}
    behind = torch.autograd.grad(sum(told), list(named.values()), allow_unused=True) if told else [None] * len(named)
    for (name, parameter), gradient in zip(named.items(), behind, strict=True):
        if gradient is not None and id(parameter) not in own:
            return f"`{name}` is behind the weights and not among the parameters."
        if gradient is None and id(parameter) in own:
            return f"`{name}` is among the parameters and not behind the weights."
    return None


def everything_gets_a_gradient(cases: OperatorCases) -> str | None:
    """Every source reaches the output, and so does every parameter, of fusion parameters each entry.

    Somewhere among the sources of one number, from two on: a softmax over one has no gradient.
    """
    idle, moved = set[str](), set[str]()
    for case in cases:
        if len(case.shapes) > 1 or len(cases.shapes) == 1:
            without, others = laws.gradients(case, entrywise=lambda operator: operator.fusion_parameters())
            idle |= {f"{name} of {len(case.shapes)} sources" for name in without}
            moved |= {f"{name} of {len(case.shapes)} sources" for name in others}
    if idle - moved:
        return f"nothing depends on {', '.join(sorted(idle - moved))}. Is it used, each with its own, and not detached?"
    return None


def the_output_begins_at_a_useful_scale(cases: OperatorCases) -> str | None:
    """Of sources with variance one the output begins with a standard deviation between 0.3 and 3.

    A prediction may begin nearer to zero, from 0.2 on. Maps may be drawn anew at each position, whose mean is small, or
    alike at all: one of them will do.
    """
    for case in cases:
        reseed()
        with torch.no_grad():
            operator = case.make().float()
            least = 0.2 if operator.gives_prediction else 0.3
            told = [case.run(operator, case.wide_inputs(alike)).std().item() for alike in (True, False)]
        if not any(least <= std <= 3 for std in told):
            return f"for {len(case.shapes)} sources it is {told[-1]:.3g}. Scale the initial weights by their fan-in."
    return None


LAWS = [
    laws.out_shape_is_the_outputs,
    laws.a_batch_of_one_stays_one,
    laws.the_result_is_finite,
    laws.everything_is_registered,
    laws.evaluation_changes_nothing,
    laws.samples_do_not_mix,
    laws.order_of_the_inputs_does_not_matter,
    laws.state_dict_is_whole,
    laws.gradients_are_right,
    half_precision_stays_close,
    absence.presence_of_all_is_no_presence,
    absence.every_subset_is_answered,
    absence.absent_content_reaches_nothing,
    absence.absence_is_each_samples_own,
    weights_and_energies_are_told_by_source,
    fusion_parameters_are_those_behind_the_weights,
]
"""In an order in which one that is broken explains those behind it."""
