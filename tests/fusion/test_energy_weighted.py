"""The average by energy scores against its formula, and torch's own likelihood of a mixture."""

import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily

from fusionlit.errors import ConfigError
from fusionlit.fusion import EnergyWeightedAverage, ShapeMismatchError
from fusionlit.types import TargetSpec

SHAPES = {"rgb": (5,), "lidar": (5,), "radar": (5,)}


def draw(size=5, batch=4):
    generator = torch.Generator().manual_seed(0)
    return {name: 3 * torch.randn(batch, size, generator=generator, dtype=torch.float64) for name in SHAPES}


def energies(logits, temperature):
    return -temperature * (logits / temperature).exp().sum(-1).log()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_cross_entropy_is_the_likelihood_of_the_mixture(temperature):
    h, target = draw(), torch.tensor([0, 4, 2, 2])
    members = torch.stack(list(h.values()), dim=1)
    mixture = MixtureSameFamily(
        Categorical(logits=-energies(members, temperature) / temperature), Categorical(logits=members)
    )
    out = EnergyWeightedAverage(SHAPES, temperature).double()(h)
    loss = torch.nn.functional.cross_entropy(out, target, reduction="none")
    torch.testing.assert_close(loss, -mixture.log_prob(target))


def test_the_surer_member_counts_for_more_sample_by_sample():
    sure, unsure = torch.tensor([9.0, 0.0]), torch.tensor([0.0, 0.5])
    h = {"a": torch.stack([sure, unsure]), "b": torch.stack([unsure, sure.flip(0)])}
    operator = EnergyWeightedAverage({"a": (2,), "b": (2,)})
    assert operator(h).argmax(1).tolist() == [0, 1]
    energy = operator.energy(h)
    assert energy["a"][0] > 100 * energy["b"][0]
    assert energy["b"][1] > 100 * energy["a"][1]


def test_weights_are_those_of_the_last_batch_over_what_is_there():
    h = draw()
    there = {"rgb": [True, True, False, True], "lidar": [True, False, True, False], "radar": [True, True, True, False]}
    presence = {name: torch.tensor(column) for name, column in there.items()}
    operator = EnergyWeightedAverage(SHAPES).double()
    operator(h, presence)
    mass = torch.stack([h[name].exp().sum(1) * presence[name] for name in SHAPES])
    weights = mass / mass.sum(0)
    for k, (name, weight) in enumerate(operator.fusion_weights().items()):
        assert weight.item() == pytest.approx(weights[k, presence[name]].mean().item(), abs=1e-6)


def test_one_logit_is_two_classes_and_none_is_preferred():
    h = draw(size=1)
    shapes = dict.fromkeys(SHAPES, (1,))
    operator = EnergyWeightedAverage(shapes).double()
    two = {name: torch.cat([-z / 2, z / 2], 1) for name, z in h.items()}
    both = EnergyWeightedAverage(dict.fromkeys(SHAPES, (2,))).double()(two)
    torch.testing.assert_close(operator(h).sigmoid()[:, 0], both.softmax(1)[:, 1])
    torch.testing.assert_close(operator({name: -z for name, z in h.items()}), -operator(h))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: EnergyWeightedAverage({"a": (3, 4)}), ConfigError, r"predictions \(O,\), but got {'a': \(3, 4\)}"),
        (lambda: EnergyWeightedAverage({"a": (3,), "b": (4,)}), ShapeMismatchError, "to have one shape"),
        (lambda: EnergyWeightedAverage(SHAPES, 0.0), ConfigError, "`temperature` of Energy.* above 0, but got 0.0"),
        (
            lambda: EnergyWeightedAverage(SHAPES).check_target(TargetSpec("regression", 5)),
            ConfigError,
            "'multiclass' or 'binary' target for EnergyWeightedAverage, .* got 'regression': use WeightedAverage",
        ),
    ],
)
def test_misuse_is_explained(make, error, message):
    with pytest.raises(error, match=message):
        make()
