"""Contract of fusion operators."""

from collections.abc import Iterable, Iterator, Sequence
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
    """Check the laws of a fusion operator.

    Without `shapes`, it is checked on one to three vectors, sequences and maps of equal and of different shapes.
    Shapes that it rejects with a `ConfigError` are skipped, but it must accept some.

    Args:
        factory: Function of the source shapes that returns the operator: the class itself, or a partial.
        shapes: Sources to check it on; small, since gradients are checked by finite differences.
        symmetric: Also require that the order of the sources does not matter at initialisation.

    Raises:
        BrokenLawError: If a law is broken; the message says which, what happened, and what to do.
    """
    uphold(OperatorCases(factory, [shapes] if shapes else TRIED), [invalid_shapes_are_rejected])
    taken = OperatorCases(factory, [shapes] if shapes else accepted(factory, TRIED))
    for case in taken:
        uphold(case, [*LAWS, *([order_of_the_sources_does_not_matter] if symmetric else [])])
    uphold(taken, [everything_gets_a_gradient])
    wide = [shapes] if shapes else next((kind for tried in WIDE if (kind := accepted(factory, tried))), [])
    uphold(OperatorCases(factory, wide), [the_initial_output_has_a_useful_scale])
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
        """Standard normal features."""
        return draw(self.shapes, batch)

    def run(self, module: nn.Module, inputs: dict[str, Tensor], presence: dict[str, Tensor] | None = None) -> Tensor:
        """The fused features."""
        out: Tensor = module(inputs, presence)
        return out

    def wide_inputs(self, alike: bool) -> dict[str, Tensor]:
        """A large batch of normal features in float32, constant over the grid (`alike`) or not."""
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
    """The shapes that the operator accepts."""
    taken = []
    for shapes in tried:
        with suppress(ConfigError):
            factory(dict(shapes))
            taken.append(shapes)
    return taken


def invalid_shapes_are_rejected(cases: OperatorCases) -> str | None:
    """An operator is a `FusionOperator`; it rejects shapes that it cannot fuse at construction, with a ConfigError."""
    taken = accepted(cases.factory, cases.shapes)
    if not taken:
        return f"it rejects all of {cases.shapes}. Pass `shapes` that it accepts."
    OperatorCase(cases.factory, taken[0]).make()
    if accepted(cases.factory, [{}]):
        return "it accepts empty `shapes`. Call `super().__init__(shapes)`, which rejects them."
    return None


def order_of_the_sources_does_not_matter(case: OperatorCase) -> str | None:
    """With equal parameters (by name), the order of the sources does not matter at initialisation."""
    reseed()
    operator = case.make().double().eval()
    mirrored = case.factory(dict(reversed(case.shapes.items()))).double().eval()
    mirrored.load_state_dict(operator.state_dict())
    if close(case.run(mirrored, case.inputs()), case.run(operator, case.inputs())):
        return None
    return "reversing the sources changes the result."


def half_precision_stays_close(case: OperatorCase) -> str | None:
    """In float16, bfloat16 and float32 the output has the dtype of the features and is accurate to 16 epsilons.

    The error is the root mean square of the difference from float64, relative to that of the output.
    """
    exact = case.run(case.build(), case.inputs())
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        out = case.run(case.build().to(dtype), {name: x.to(dtype) for name, x in case.inputs().items()})
        if out.dtype != dtype:
            return f"features in {dtype} gave {out.dtype}. Return the output in the dtype of the features."
        error = ((out.double() - exact).square().mean().sqrt() / exact.square().mean().sqrt()).item()
        if not error <= 16 * torch.finfo(dtype).eps:
            return f"in {dtype} the error is {error:.3g}. Compute products and long sums in float32."
    return None


def weights_and_energies_name_the_sources(case: OperatorCase) -> str | None:
    """Fusion weights and energies are given for every source by name, in order, or for none.

    Energies are per sample and zero for missing sources; `has_energy` says whether the operator has them.
    """
    operator, inputs = case.build(), case.inputs()
    weights, energy = operator.fusion_weights(), operator.energy(inputs, complete(None, inputs))
    for what, by_source in (("fusion_weights", weights), ("energy", energy)):
        if list(by_source) not in ([], list(case.shapes)):
            return f"`{what}` names {list(by_source)}."
        if not all(x.isfinite().all() for x in by_source.values()):
            return f"`{what}` is not finite: {by_source}."
    if operator.has_energy != bool(energy):
        return f"`has_energy` is {operator.has_energy}, but `energy` names {list(energy)}. Override both, or neither."
    presence = subsets(list(case.shapes))
    energy = operator.energy(case.inputs(absence.samples(presence)), presence)
    for name, x in energy.items():
        there = presence[name]
        if x.shape != there.shape or x[~there].any() or not (x[there] > 0).all():
            return f"`energy` of {name!r} is {x.tolist()}, but its presence is {there.tolist()}."
    return None


def fusion_parameters_determine_the_weights(case: OperatorCase) -> str | None:
    """`fusion_parameters` are exactly the parameters that determine `fusion_weights`."""
    operator = case.build()
    own = {id(p) for p in operator.fusion_parameters()}
    losses = [w.square().sum() for w in operator.fusion_weights().values() if w.requires_grad]
    named = {name: p for name, p in operator.named_parameters() if p.requires_grad}
    gradients: Sequence[Tensor | None] = [None] * len(named)
    if losses:
        gradients = torch.autograd.grad(sum(losses), list(named.values()), allow_unused=True)
    for (name, parameter), gradient in zip(named.items(), gradients, strict=True):
        if gradient is not None and id(parameter) not in own:
            return f"the weights depend on `{name}`, which is missing from `fusion_parameters`."
        if gradient is None and id(parameter) in own:
            return f"`fusion_parameters` contains `{name}`, on which the weights do not depend."
    return None


def everything_gets_a_gradient(cases: OperatorCases) -> str | None:
    """The output depends on every source, every parameter, and every entry of the fusion parameters.

    For each number of sources from two on (a softmax over one has no gradient), in at least one case.
    """
    idle, moved = set[str](), set[str]()
    for case in cases:
        if len(case.shapes) > 1 or len(cases.shapes) == 1:
            without, others = laws.gradients(case, entrywise=lambda operator: operator.fusion_parameters())
            idle |= {f"{name} of {len(case.shapes)} sources" for name in without}
            moved |= {f"{name} of {len(case.shapes)} sources" for name in others}
    if idle - moved:
        return f"it does not depend on {', '.join(sorted(idle - moved))}. Is each one used, and not detached?"
    return None


def the_initial_output_has_a_useful_scale(cases: OperatorCases) -> str | None:
    """For sources with unit variance, the initial output has a standard deviation between 0.3 and 3.

    For predictions the lower bound is 0.2. Maps are drawn both independently at each position, which makes means over
    positions small, and constant over positions; one of the two must satisfy the bounds.
    """
    for case in cases:
        reseed()
        with torch.no_grad():
            operator = case.make().float()
            least = 0.2 if operator.gives_prediction else 0.3
            deviations = [case.run(operator, case.wide_inputs(alike)).std().item() for alike in (True, False)]
        if not any(least <= std <= 3 for std in deviations):
            return (
                f"for {len(case.shapes)} sources it is {deviations[-1]:.3g}. Scale the initial weights by their fan-in."
            )
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
    weights_and_energies_name_the_sources,
    fusion_parameters_determine_the_weights,
]
"""Ordered so that the first violation explains later ones."""
