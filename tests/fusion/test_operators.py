"""Sums, products and averages against their formulas, written out by hand in float64."""

import pytest
import torch
from torch import Tensor

from fusionlit.errors import ConfigError
from fusionlit.fusion import Add, Concat, Hadamard, MatMul, ShapeMismatchError, WeightedAverage, WeightedSum

MAPS = {"rgb": (3, 4, 4), "lidar": (3, 4, 4), "radar": (3, 4, 4)}
INITIAL = dict.fromkeys(MAPS, 0.5)
VECTORS = {"rgb": (5,), "lidar": (5,), "radar": (5,)}


def draw(shapes: dict[str, tuple[int, ...]], batch: int = 2) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randn(batch, *shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()
    }


def all_present(batch: int = 2) -> dict[str, Tensor]:
    return {name: torch.ones(batch, dtype=torch.bool) for name in MAPS}


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
        (lambda: Concat({"a": (3, 4, 4), "b": (3, 2, 2)}), ShapeMismatchError, "the same dimensions after the first"),
        (lambda: Add({"a": (3,), "b": (4,)}), ShapeMismatchError, "Add to have one shape, but got {'a': (3,)"),
        (lambda: MatMul({"a": (3, 4, 5), "b": (3, 4, 5)}), ConfigError, "square maps"),
        (lambda: WeightedSum(MAPS, weights="l1"), ConfigError, "one of ('softmax', 'raw', 'sigmoid'), but got 'l1'"),
        (lambda: WeightedSum(MAPS, initial={"rgb": 1.0}), ConfigError, "but ['lidar', 'radar'] are missing"),
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
