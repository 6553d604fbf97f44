"""The operators' contract: each law finds an operator that breaks it, and none of ours does."""

import inspect
from functools import partial, reduce

import pytest
import torch
from torch import nn

import fusionlit.fusion
from fusionlit.errors import ConfigError
from fusionlit.functional import mean_square, per_sample
from fusionlit.fusion import (
    Add,
    Bilinear,
    BottleneckAttention,
    Concat,
    CrossModalAttention,
    DempsterShafer,
    EnergyWeightedAverage,
    FusionOperator,
    GatedFusion,
    Hadamard,
    LowRankFusion,
    MatMul,
    TensorFusion,
    TransformerFusion,
    WeightedAverage,
    WeightedSum,
)
from fusionlit.testing import BrokenLawError, absence, check_operator, laws, operators

OURS = {
    "concat": Concat,
    "add": Add,
    "hadamard": Hadamard,
    "matmul": MatMul,
    "softmax": WeightedSum,
    "raw": partial(WeightedSum, weights="raw", source_norm=False),
    "sigmoid": partial(WeightedSum, weights="sigmoid"),
    "average": WeightedAverage,
    "plain average": partial(WeightedAverage, learned=False),
    "mixture": partial(WeightedAverage, of="probabilities"),
    "mixture of labels": partial(WeightedAverage, of="probabilities", exclusive=False),
    "average per output": partial(WeightedAverage, of="probabilities", per_output=True),
    "low rank": LowRankFusion,
    "low rank, weights over rank": partial(LowRankFusion, rank_weights=True),
    "tensor": TensorFusion,
    "bilinear": Bilinear,
    "bilinear, factorised": partial(Bilinear, rank=3),
    "gated": GatedFusion,
    "bottleneck": partial(BottleneckAttention, width=8, heads=2),
    "bottleneck, two layers": partial(BottleneckAttention, width=8, heads=2, layers=2),
    "cross-modal": partial(CrossModalAttention, width=8, heads=2),
    "transformer": partial(TransformerFusion, width=8, heads=2, layers=1),
    "transformer, two layers": partial(TransformerFusion, width=8, heads=2),
    "energy": EnergyWeightedAverage,
    "energy, cold": partial(EnergyWeightedAverage, temperature=0.5),
    "Dempster-Shafer": DempsterShafer,
}
ONE_CASE = {"bottleneck, two layers": {"a": (3, 4, 4), "b": (5, 6), "c": (7,)}}  # all of them take seconds
SYMMETRIC = (
    *("add", "hadamard", "softmax", "average", "plain average", "mixture", "low rank", "bilinear, factorised"),
    *("transformer", "transformer, two layers", "energy", "Dempster-Shafer"),
)


@pytest.mark.parametrize("name", OURS)
def test_ours_keep_every_law(name):
    check_operator(OURS[name], ONE_CASE.get(name), symmetric=name in SYMMETRIC)


def test_none_of_ours_is_left_out():
    offered = [getattr(fusionlit.fusion, name) for name in fusionlit.fusion.__all__]
    concrete = {
        o for o in offered if inspect.isclass(o) and issubclass(o, FusionOperator) and not inspect.isabstract(o)
    }
    assert concrete == {getattr(factory, "func", factory) for factory in OURS.values()}


class Sum(FusionOperator):
    """What the broken ones are made from; it breaks no law."""

    def __init__(self, shapes):
        super().__init__(shapes)
        self.shape = self.common_shape()
        self.weight = nn.Parameter(torch.ones(len(shapes)))

    @property
    def out_shape(self):
        return self.shape

    def forward(self, features, presence=None):
        return reduce(torch.add, self.terms(features, presence))

    def terms(self, features, presence):
        return [a * x for a, x in zip(self.weight, self.fill_missing(features, presence, value=0.0), strict=True)]

    def fusion_weights(self):
        return dict(zip(self.shapes, self.weight, strict=True))

    def fusion_parameters(self):
        return (self.weight,)

    def energy(self, features, presence=None):
        return dict(zip(self.shapes, map(mean_square, self.terms(features, presence)), strict=True))


def test_the_sum_itself_keeps_every_law():
    check_operator(Sum, symmetric=True)


class Plain(nn.Module):
    def __init__(self, shapes):
        super().__init__()


class NoBase(Sum):
    def __init__(self, shapes):
        nn.Module.__init__(self)
        self.shapes = shapes
        self.shape = next(iter(shapes.values()), ())
        self.weight = nn.Parameter(torch.ones(len(shapes)))


class Asserts(Sum):
    def __init__(self, shapes):
        super().__init__(shapes)
        assert len(self.shape) > 1


class Nothing(Sum):
    def __init__(self, shapes):
        super().__init__(shapes)
        if shapes:
            raise ConfigError("nothing is good enough")


class WrongShape(Sum):
    @property
    def out_shape(self):
        return (*self.shape, 1)


class ListShape(Sum):
    @property
    def out_shape(self):
        return list(self.shape)


class Squeezes(Sum):
    def forward(self, features, presence=None):
        return super().forward(features, presence).squeeze()


class Logarithm(Sum):
    def forward(self, features, presence=None):
        return super().forward(features, presence).log()


class PlainList(Sum):
    def __init__(self, shapes):
        super().__init__(shapes)
        self.factors = [nn.Parameter(torch.ones(())) for _ in shapes]

    def forward(self, features, presence=None):
        return super().forward(features, presence) * sum(self.factors)


class PlainTensor(Sum):
    def __init__(self, shapes):
        super().__init__(shapes)
        self.scale = torch.ones(())

    def forward(self, features, presence=None):
        return super().forward(features, presence) * self.scale


class PlainDictOfModules(Sum):
    def __init__(self, shapes):
        super().__init__(shapes)
        self.maps = {source: nn.Identity() for source in shapes}


class Mixes(Sum):
    def forward(self, features, presence=None):
        out = super().forward(features, presence)
        return out - out.mean(0)


class ByPosition(Sum):
    def forward(self, features, presence=None):
        named = dict(zip(self.shapes, features.values(), strict=True))
        return super().forward(named, presence)


class InPlace(Sum):
    def forward(self, features, presence=None):
        out = super().forward(features, presence)
        with torch.no_grad():
            next(iter(features.values())).add_(1)
        return out


class Counts(Sum):
    def __init__(self, shapes):
        super().__init__(shapes)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, features, presence=None):
        self.calls += 1
        return super().forward(features, presence)


class Noisy(Sum):
    def forward(self, features, presence=None):
        out = super().forward(features, presence)
        return out + 0.1 * torch.randn_like(out)


class DrawnScale(Sum):
    def __init__(self, shapes):
        super().__init__(shapes)
        self.scale = float(torch.rand(()))

    def forward(self, features, presence=None):
        return super().forward(features, presence) * self.scale


class Detached(Sum):
    def terms(self, features, presence):
        return [
            x * a + 0.1 * a.detach() * x for a, x in zip(self.weight, super().terms(features, presence), strict=True)
        ]


class AlwaysFloat(Sum):
    def forward(self, features, presence=None):
        return super().forward(features, presence).double()


class Overflows(Sum):
    def forward(self, features, presence=None):
        return super().forward(features, presence) * 1e6 / 1e6


class CountsTheAbsent(Sum):
    def forward(self, features, presence=None):
        out = super().forward(features, presence)
        return out if presence is None else out / len(self.shapes)


class IgnoresPresence(Sum):
    def terms(self, features, presence):
        return [a * features[source] for a, source in zip(self.weight, self.shapes, strict=True)]


class HalfHearted(Sum):
    """Zeros in the place of what is absent by a product, which keeps NaN."""

    def fill_missing(self, features, presence, value):
        return [
            features[s] * (1 if presence is None else presence[s].reshape(-1, *(1,) * (features[s].ndim - 1)))
            for s in self.shapes
        ]


class TrainLeak(Sum):
    def fill_missing(self, features, presence, value):
        return super().fill_missing(features, None if self.training else presence, value)


class TwoAbsentLeak(Sum):
    """It cleans up only where one source is absent."""

    def fill_missing(self, features, presence, value):
        clean, raw = super().fill_missing(features, presence, value), super().fill_missing(features, None, value)
        if presence is None:
            return raw
        one = torch.stack(list(presence.values())).sum(0) == len(presence) - 1
        return [torch.where(per_sample(one, x), x, y) for x, y in zip(clean, raw, strict=True)]


class BatchImpute(Sum):
    """The mean of the samples that have a source stands in for those that lack it."""

    def fill_missing(self, features, presence, value):
        sources = super().fill_missing(features, presence, value)
        if presence is None:
            return sources
        means = [x.sum(0) / presence[s].sum().clamp(min=1) for s, x in zip(self.shapes, sources, strict=True)]
        there = [per_sample(presence[s], x) for s, x in zip(self.shapes, sources, strict=True)]
        return [torch.where(m, x, mean) for m, x, mean in zip(there, sources, means, strict=True)]


class SharesAbsence(Sum):
    """A source that anybody lacks is left out for all."""

    def fill_missing(self, features, presence, value):
        sources = super().fill_missing(features, presence, value)
        if presence is None:
            return sources
        return [x * presence[source].all() for source, x in zip(self.shapes, sources, strict=True)]


class NeedsTwo(Sum):
    """Divides by the number of sources that are there less one."""

    def forward(self, features, presence=None):
        out = super().forward(features, presence)
        if presence is None or len(self.shapes) == 1:
            return out
        there = torch.stack([presence[source] for source in self.shapes]).sum(0)
        scale = (len(self.shapes) - 1) / (there - 1)
        return out * scale.reshape(-1, *(1,) * (out.ndim - 1))


class NamelessWeights(Sum):
    def fusion_weights(self):
        return {"weight": self.weight}


class EnergyOfTheAbsent(Sum):
    def energy(self, features, presence=None):
        return super().energy(features, None)


class SilentEnergy(Sum):
    def energy(self, features, presence=None):
        return {}


class Hidden(Sum):
    def fusion_parameters(self):
        return ()


class Stranger(Sum):
    def __init__(self, shapes):
        super().__init__(shapes)
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, features, presence=None):
        return super().forward(features, presence) * self.scale

    def fusion_parameters(self):
        return (self.weight, self.scale)


class OneAlphaTwice(Sum):
    """The last weight of two or more is never used: another is, twice."""

    def terms(self, features, presence):
        sources = self.fill_missing(features, presence, value=0.0)
        return [self.weight[min(k, max(len(sources) - 2, 0))] * x for k, x in enumerate(sources)]

    def fusion_weights(self):
        return dict(zip(self.shapes, self.weight, strict=True))


class Unused(Sum):
    def __init__(self, shapes):
        super().__init__(shapes)
        self.bias = nn.Parameter(torch.zeros(()))


class DropsASource(Sum):
    def forward(self, features, presence=None):
        return self.terms(features, presence)[0] * self.weight.prod()


class Huge(Sum):
    def forward(self, features, presence=None):
        return 10 * super().forward(features, presence)


class Branches(Sum):
    def forward(self, features, presence=None):
        out = super().forward(features, presence)
        return out if out.sum() > 0 else out * 1


class BranchesOnPresence(Sum):
    def forward(self, features, presence=None):
        out = super().forward(features, presence)
        return out if presence is None or all(there.all() for there in presence.values()) else out * 1


class PresenceByPosition(Sum):
    def fill_missing(self, features, presence, value):
        named = presence and dict(zip(self.shapes, presence.values(), strict=True))
        return super().fill_missing(features, named, value)


class Ordered(Sum):
    def terms(self, features, presence):
        return [(k + 1) / 2 * x for k, x in enumerate(super().terms(features, presence))]


BROKEN = {
    Plain: (operators.invalid_shapes_are_rejected, "it raised ConfigError: Expected"),
    ListShape: (operators.invalid_shapes_are_rejected, "but got [6]"),
    Logarithm: (laws.the_result_is_finite, "values are not finite. Look for a logarithm, root or quotient"),
    TrainLeak: (absence.absent_content_reaches_nothing, "in training mode, nan in a missing source changes the result"),
    TwoAbsentLeak: (absence.absent_content_reaches_nothing, "in evaluation mode, nan in a missing source changes"),
    BatchImpute: (
        absence.absence_is_each_samples_own,
        "in evaluation mode, the result of a sample that has ['a', 'b'] d",
    ),
    SilentEnergy: (operators.weights_and_energies_name_the_sources, "`has_energy` is True, but `energy` names []"),
    BranchesOnPresence: (laws.compiles_to_one_graph, "it raised"),
    PresenceByPosition: (laws.order_of_the_inputs_does_not_matter, "of its inputs or of their presence is reversed"),
    NoBase: (operators.invalid_shapes_are_rejected, "accepts empty `shapes`. Call `super().__init__(shapes)`"),
    Asserts: (operators.invalid_shapes_are_rejected, "it raised AssertionError"),
    Nothing: (operators.invalid_shapes_are_rejected, "it rejects all of [{'a': (6,)"),
    WrongShape: (laws.out_shape_is_the_outputs, "`out_shape` is (6, 1), but a batch of 6 gave (6, 6)"),
    Squeezes: (laws.a_batch_of_one_stays_one, "one sample gave (6,), not (1, 6)."),
    PlainList: (laws.everything_is_registered, "holds a Parameter in a plain list: use nn.ParameterList"),
    PlainTensor: (laws.everything_is_registered, "`scale` of PlainTensor holds a plain tensor: use `self.register_b"),
    PlainDictOfModules: (laws.everything_is_registered, "holds a Identity in a plain dict: use nn.ModuleDict"),
    Mixes: (laws.samples_do_not_mix, "the first of 6 samples gives a different result alone"),
    ByPosition: (laws.order_of_the_inputs_does_not_matter, "when the dict of its inputs is reversed. Look them up by"),
    InPlace: (laws.evaluation_changes_nothing, "it changed its inputs ['a']"),
    Counts: (laws.evaluation_changes_nothing, "it changed its own ['calls']. Update them only `if self.training`"),
    Noisy: (
        laws.evaluation_changes_nothing,
        "a second call gave a different result. Draw random numbers only `if self.tr",
    ),
    DrawnScale: (laws.state_dict_is_whole, "Store random values drawn in __init__ in a parameter or a buffer"),
    Detached: (laws.gradients_are_right, "look for `.detach()`, `.data`, `no_grad` or a cast"),
    AlwaysFloat: (operators.half_precision_stays_close, "features in torch.float32 gave torch.float64"),
    Overflows: (operators.half_precision_stays_close, "in torch.float16 the error is inf"),
    CountsTheAbsent: (absence.presence_of_all_is_no_presence, "the results differ."),
    IgnoresPresence: (
        absence.absent_content_reaches_nothing,
        "nan in a missing source changes the result. In an operator",
    ),
    HalfHearted: (
        absence.absent_content_reaches_nothing,
        "in evaluation mode, nan in a missing source changes the",
    ),
    SharesAbsence: (
        absence.absence_is_each_samples_own,
        "in evaluation mode, the result of a sample that has ['a', 'b', 'c'] ",
    ),
    NeedsTwo: (absence.every_subset_is_answered, "with only ['a'], the gradients of ['a', 'weight'] are not"),
    NamelessWeights: (operators.weights_and_energies_name_the_sources, "`fusion_weights` names ['weight']"),
    EnergyOfTheAbsent: (operators.weights_and_energies_name_the_sources, "`energy` of 'a' is ["),
    Hidden: (operators.fusion_parameters_determine_the_weights, "the weights depend on `weight`, which is missing"),
    Stranger: (operators.fusion_parameters_determine_the_weights, "`fusion_parameters` contains `scale`, on"),
    OneAlphaTwice: (operators.everything_gets_a_gradient, "it does not depend on parameter `weight` of 2 sources"),
    Unused: (operators.everything_gets_a_gradient, "it does not depend on parameter `bias` of 2 sources"),
    DropsASource: (operators.everything_gets_a_gradient, "it does not depend on source 'b' of 2 sources"),
    Huge: (operators.the_initial_output_has_a_useful_scale, "for 2 sources it is 14"),
    Branches: (laws.compiles_to_one_graph, "it raised"),
    Ordered: (operators.order_of_the_sources_does_not_matter, "reversing the sources changes the result"),
}


@pytest.mark.parametrize("operator", BROKEN)
def test_a_broken_law_is_named(operator):
    law, detail = BROKEN[operator]
    with pytest.raises(BrokenLawError) as caught:
        check_operator(operator, symmetric=operator is Ordered)
    assert caught.value.law is law
    message = str(caught.value)
    assert message.startswith(operator.__name__)
    assert " ".join(law.__doc__.split()) in message
    assert detail in message


def test_no_law_is_without_a_broken_operator():
    own = [value for value in vars(operators).values() if inspect.isfunction(value)]
    own = {law for law in own if law.__module__ == operators.__name__ and law.__annotations__["return"] == (str | None)}
    assert {law for law, _ in BROKEN.values()} == {*operators.LAWS, *own, laws.compiles_to_one_graph}


def test_shapes_of_ones_own():
    shapes = {"image": (4, 8, 8), "state": (4, 8, 8)}
    check_operator(Sum, shapes)
    with pytest.raises(BrokenLawError, match=r"rejects all of \[\{'a': \(3,\), 'b': \(4,\)\}\]. Pass `shapes`"):
        check_operator(Sum, {"a": (3,), "b": (4,)})


def test_the_callers_random_numbers_are_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    check_operator(LowRankFusion, {"a": (3,), "b": (4,)})
    assert torch.equal(torch.rand(3), expected)
