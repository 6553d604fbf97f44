"""Every operator against its formula, written out by hand in float64."""

import pytest
import torch
from torch import Tensor

from fusionlit.errors import ConfigError
from fusionlit.fusion import (
    Add,
    Bilinear,
    BottleneckAttention,
    Concat,
    CrossModalAttention,
    FusionOperator,
    GatedFusion,
    Hadamard,
    LowRankFusion,
    MatMul,
    ShapeMismatchError,
    TensorFusion,
    WeightedAverage,
    WeightedSum,
)

MAPS = {"rgb": (3, 4, 4), "lidar": (3, 4, 4), "radar": (3, 4, 4)}
INITIAL = dict.fromkeys(MAPS, 0.5)
VECTORS = {"rgb": (5,), "lidar": (5,), "radar": (5,)}
MIXED = {"rgb": (3, 2, 2), "lidar": (2, 3), "radar": (4,)}
PAIR = {"rgb": (3, 2, 2), "lidar": (4,)}


def draw(shapes: dict[str, tuple[int, ...]], batch: int = 2) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randn(batch, *shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()
    }


def all_present(batch: int = 2) -> dict[str, Tensor]:
    return {name: torch.ones(batch, dtype=torch.bool) for name in MAPS}


CASES = {
    "concat": lambda: (Concat(MAPS), MAPS),
    "add": lambda: (Add(MAPS), MAPS),
    "hadamard": lambda: (Hadamard(MAPS), MAPS),
    "matmul": lambda: (MatMul(MAPS), MAPS),
    "softmax": lambda: (WeightedSum(MAPS), MAPS),
    "raw": lambda: (WeightedSum(MAPS, weights="raw", source_norm=False), MAPS),
    "sigmoid": lambda: (WeightedSum(VECTORS, weights="sigmoid"), VECTORS),
    "average": lambda: (WeightedAverage(VECTORS), VECTORS),
    "mixture": lambda: (WeightedAverage(VECTORS, of="probabilities"), VECTORS),
    "mixture of labels": lambda: (WeightedAverage(VECTORS, of="probabilities", exclusive=False), VECTORS),
    "average per output": lambda: (WeightedAverage(VECTORS, of="probabilities", per_output=True), VECTORS),
    "gated": lambda: (GatedFusion({**VECTORS, "radar": (3,)}), {**VECTORS, "radar": (3,)}),
    "gated maps": lambda: (GatedFusion(MAPS, out_features=2), MAPS),
    "bottleneck": lambda: (BottleneckAttention(PAIR, width=3, tokens=2, heads=3), PAIR),
    "cross-modal": lambda: (CrossModalAttention(MIXED, width=3, heads=3), MIXED),
    "low rank": lambda: (LowRankFusion(VECTORS, 3, rank=2), VECTORS),
    "low rank, weights over rank": lambda: (LowRankFusion(VECTORS, 3, rank=2, rank_weights=True), VECTORS),
    "tensor": lambda: (TensorFusion(VECTORS, 2), VECTORS),
    "bilinear": lambda: (Bilinear(MAPS, 2), MAPS),
    "bilinear, factorised": lambda: (Bilinear(MAPS, 3, rank=2), MAPS),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[FusionOperator, dict[str, Tensor]]:
    operator, shapes = CASES[request.param]()
    operator = operator.double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in operator.parameters():
            parameter += torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return operator, draw(shapes)


def test_out_shape_is_the_shape_of_the_output(case):
    operator, features = case
    assert operator(features).shape == (2, *operator.out_shape)


def test_batch_of_one_is_the_first_of_two(case):
    operator, features = case
    alone = operator({name: x[:1] for name, x in features.items()})
    torch.testing.assert_close(alone, operator(features)[:1])


def test_order_of_the_features_dict_does_not_matter(case):
    operator, features = case
    torch.testing.assert_close(operator(dict(reversed(features.items()))), operator(features))


def test_all_present_is_the_same_as_no_presence(case):
    operator, features = case
    torch.testing.assert_close(operator(features, all_present()), operator(features))
    energy = operator.energy(features, all_present())
    torch.testing.assert_close(energy, operator.energy(features))


def test_gradients(case):
    operator, features = case
    names = list(features)
    inputs = tuple(x.requires_grad_() for x in features.values())
    parameters = tuple(operator.parameters())

    def run(*tensors: Tensor) -> Tensor:
        values = dict(zip((n for n, _ in operator.named_parameters()), tensors[len(names) :], strict=True))
        features = dict(zip(names, tensors[: len(names)], strict=True))
        return torch.func.functional_call(operator, values, (features,))

    assert torch.autograd.gradcheck(run, (*inputs, *parameters))


def test_what_an_absent_source_holds_reaches_neither_output_nor_gradient(case):
    operator, features = case
    presence = all_present()
    presence["lidar"] = torch.tensor([True, False])
    expected = operator(features, presence)
    broken = {name: x.clone().requires_grad_() for name, x in features.items()}
    with torch.no_grad():
        broken["lidar"][1] = torch.nan
    out = operator(broken, presence)
    torch.testing.assert_close(out, expected)
    out.sum().backward()
    for x in (*broken.values(), *operator.parameters()):
        assert x.grad is None or x.grad.isfinite().all()
    assert not broken["lidar"].grad[1].any()


def test_one_samples_absence_does_not_change_the_other(case):
    operator, features = case
    presence = all_present()
    presence["lidar"] = torch.tensor([True, False])
    torch.testing.assert_close(operator(features, presence)[0], operator(features)[0])


def test_fusion_parameters_are_the_ones_behind_the_weights(case):
    operator, _ = case
    weights = operator.fusion_weights()
    assert list(weights) in ([], list(operator.shapes))
    if not list(operator.fusion_parameters()):  # no weights, or functions of the input
        assert not any(w.requires_grad for w in weights.values())
        return
    torch.stack([w.square().sum() for w in weights.values()]).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in operator.fusion_parameters())


def test_plain_operators_are_their_formulas():
    h = draw(MAPS)
    a, b, c = h.values()
    torch.testing.assert_close(Concat(MAPS)(h), torch.stack([a, b, c], 1).reshape(2, 9, 4, 4))
    torch.testing.assert_close(Add(MAPS)(h), a + b + c)
    torch.testing.assert_close(Hadamard(MAPS)(h), a * b * c)
    torch.testing.assert_close(MatMul(MAPS)(h), torch.einsum("bcij,bcjk,bckl->bcil", a, b, c) / 4)


def test_absent_sources_are_the_neutral_element():
    h = draw(MAPS)
    a, _, c = h.values()
    gone = {**all_present(), "lidar": torch.zeros(2, dtype=torch.bool)}
    torch.testing.assert_close(Add(MAPS)(h, gone), a + c)
    torch.testing.assert_close(Hadamard(MAPS)(h, gone), a * c)
    torch.testing.assert_close(MatMul(MAPS)(h, gone), a @ c / 4)


@pytest.mark.parametrize("form", ["softmax", "raw", "sigmoid"])
def test_weighted_sum_begins_uniform_and_is_its_formula(form):
    operator = WeightedSum(MAPS, weights=form, source_norm=True).double()
    torch.testing.assert_close(operator.alpha(), torch.full((3,), 1 / 3, dtype=torch.float64), atol=1e-7, rtol=0)
    w = torch.tensor([0.3, -1.0, 0.8], dtype=torch.float64)
    operator.weight.data = w
    alpha = {"softmax": w.exp() / w.exp().sum(), "raw": w, "sigmoid": 1 / (1 + (-w).exp())}[form]
    h = draw(MAPS)
    normed = [x / x.square().mean((1, 2, 3), keepdim=True).sqrt() for x in h.values()]
    expected = sum(a * x for a, x in zip(alpha, normed, strict=True))
    torch.testing.assert_close(operator(h), expected, atol=1e-7, rtol=1e-7)
    for energy, a in zip(operator.energy(h).values(), alpha, strict=True):
        torch.testing.assert_close(energy, (a**2).expand(2), atol=1e-7, rtol=1e-7)


@pytest.mark.parametrize("form", ["softmax", "raw", "sigmoid"])
def test_weighted_sum_begins_where_it_is_told(form):
    initial = {"rgb": 0.2, "lidar": 0.7, "radar": 0.1}
    weights = WeightedSum(MAPS, weights=form, initial=initial).fusion_weights()
    for source, value in initial.items():
        assert weights[source].item() == pytest.approx(value, rel=1e-5)


def test_weighted_sum_without_norm_keeps_the_scale():
    operator = WeightedSum(MAPS, weights="raw", source_norm=False).double()
    h = draw(MAPS)
    torch.testing.assert_close(operator({k: 10 * x for k, x in h.items()}), 10 * operator(h))
    normed = WeightedSum(MAPS, weights="raw").double()
    torch.testing.assert_close(normed({k: 10 * x for k, x in h.items()}), normed(h), atol=1e-6, rtol=1e-6)


def test_weighted_sum_renormalises_over_what_is_there():
    operator = WeightedSum(MAPS, source_norm=False).double()
    operator.weight.data = torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64)
    h = draw(MAPS)
    gone = {**all_present(), "lidar": torch.tensor([False, True])}
    w = torch.tensor([0.0, 2.0], dtype=torch.float64).softmax(0)
    expected = w[0] * h["rgb"][0] + w[1] * h["radar"][0]
    torch.testing.assert_close(operator(h, gone)[0], expected)


def test_weighted_average_of_probabilities_is_the_mixtures_likelihood():
    h = draw(VECTORS)
    operator = WeightedAverage(VECTORS, of="probabilities").double()
    operator.weight.data = torch.tensor([[0.5], [-1.0], [2.0]], dtype=torch.float64)
    w = operator.weight.softmax(0)[:, 0]
    mixture = sum(a * x.softmax(-1) for a, x in zip(w, h.values(), strict=True))
    torch.testing.assert_close(operator(h).softmax(-1), mixture)
    target = torch.tensor([1, 4])
    loss = torch.nn.functional.cross_entropy(operator(h), target)
    torch.testing.assert_close(loss, -mixture[torch.arange(2), target].log().mean())


def test_weighted_average_of_label_probabilities():
    h = draw(VECTORS)
    operator = WeightedAverage(VECTORS, of="probabilities", exclusive=False).double()
    mixture = sum(x.sigmoid() for x in h.values()) / 3
    torch.testing.assert_close(operator(h).sigmoid(), mixture)


def test_shares_of_a_label_do_not_depend_on_which_of_its_two_values_is_called_positive():
    shapes = {"sure": (1,), "undecided": (1,)}
    h = {"sure": torch.full((2, 1), -6.0), "undecided": torch.zeros(2, 1)}
    operator = WeightedAverage(shapes, of="probabilities")
    flipped = operator.energy({name: -x for name, x in h.items()})
    torch.testing.assert_close(operator.energy(h), flipped)
    two = {name: torch.cat([torch.zeros_like(x), x], 1) for name, x in h.items()}
    classes = WeightedAverage({"sure": (2,), "undecided": (2,)}, of="probabilities")
    torch.testing.assert_close(operator.energy(h), classes.energy(two))


def test_weighted_average_of_logits_per_output():
    h = draw(VECTORS)
    operator = WeightedAverage(VECTORS, per_output=True).double()
    operator.weight.data = torch.randn(3, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    w = operator.weight.exp() / operator.weight.exp().sum(0)
    expected = sum(w[k] * x for k, x in enumerate(h.values()))
    torch.testing.assert_close(operator(h), expected)
    assert operator.fusion_weights()["rgb"].shape == (5,)


def test_plain_mean_is_not_trained():
    operator = WeightedAverage(VECTORS, learned=False)
    assert not any(p.requires_grad for p in operator.parameters())


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Concat({}), ConfigError, "at least one source"),
        (lambda: Concat({"a": (3, 4, 4), "b": (3, 2, 2)}), ShapeMismatchError, "the same dimensions behind the first"),
        (lambda: Add({"a": (3,), "b": (4,)}), ShapeMismatchError, "Add to have one shape, but got {'a': (3,)"),
        (lambda: MatMul({"a": (3, 4, 5), "b": (3, 4, 5)}), ConfigError, "square maps"),
        (lambda: WeightedSum(MAPS, weights="l1"), ConfigError, "one of ('softmax', 'raw', 'sigmoid'), but got 'l1'"),
        (lambda: WeightedSum(MAPS, initial={"rgb": 1.0}), ConfigError, "but ['lidar', 'radar'] have none"),
        (lambda: WeightedSum(MAPS, initial=dict.fromkeys(MAPS, -1.0)), ConfigError, "of a softmax to be in (0, 1)"),
        (lambda: WeightedSum(MAPS, weights="raw", initial={**INITIAL, "rgb": float("nan")}), ConfigError, "finite"),
        (lambda: WeightedAverage(MAPS), ConfigError, "to be predictions"),
        (lambda: WeightedAverage(VECTORS, of="votes"), ConfigError, "'logits' or 'probabilities', but got 'votes'"),
    ],
)
def test_misuse_is_explained(make, error, message):
    with pytest.raises(error) as caught:
        make()
    assert message in str(caught.value)
