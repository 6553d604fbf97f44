"""Dempster-Shafer combination against TMC's rule for two opinions at a time; over all subsets in tests/functional."""

import pytest
import torch
from torch.distributions import Dirichlet
from torch.nn import functional as F

from fusionlit.errors import ConfigError
from fusionlit.fusion import DempsterShafer, ShapeMismatchError
from fusionlit.types import TargetSpec

SHAPES = {"rgb": (5,), "lidar": (5,), "radar": (5,)}
PRESENCE = {
    "rgb": torch.tensor([True, True, False, True]),
    "lidar": torch.tensor([True, False, True, False]),
    "radar": torch.tensor([True, True, True, False]),
}


def draw(size=5, batch=4):
    generator = torch.Generator().manual_seed(0)
    return {name: 3 * torch.randn(batch, size, generator=generator, dtype=torch.float64) for name in SHAPES}


def opinion(logits):
    evidence = (1 + logits.exp()).log()
    total = evidence.sum() + len(logits)
    return evidence / total, len(logits) / total


def of_two(first, second):
    """Belief and uncertainty by definition 4 of the paper, with the conflict C."""
    (b1, u1), (b2, u2) = first, second
    conflict = torch.outer(b1, b2).sum() - (b1 * b2).sum()
    return (b1 * b2 + b1 * u2 + b2 * u1) / (1 - conflict), u1 * u2 / (1 - conflict)


def test_expected_probability_of_the_members_that_are_there():
    h = draw()
    operator = DempsterShafer(SHAPES).double()
    out = operator(h, PRESENCE)
    certainty = torch.zeros(4, 3, dtype=torch.float64)
    for b in range(4):
        opinions = {name: opinion(h[name][b]) for name in SHAPES if PRESENCE[name][b]}
        joint, *others = opinions.values()
        for other in others:
            joint = of_two(joint, other)
        belief, u = joint
        strength = 5 / u
        mean = Dirichlet(belief * strength + 1).mean
        torch.testing.assert_close(out[b].exp(), mean)
        torch.testing.assert_close(F.cross_entropy(out[b], torch.tensor(3)), -mean[3].log())
        certainty[b] = torch.stack([1 - opinions[name][1] if name in opinions else 0 * u for name in SHAPES])
    shares = certainty / certainty.sum(1, keepdim=True)
    for k, (name, weight) in enumerate(operator.fusion_weights().items()):
        assert weight.item() == pytest.approx(shares[PRESENCE[name], k].mean().item(), abs=1e-6)


def test_a_member_without_evidence_changes_nothing():
    h = draw()
    alone = DempsterShafer({"rgb": (5,)}).double()({"rgb": h["rgb"]})
    vacuous = torch.full((4, 5), -200.0, dtype=torch.float64)
    joint = DempsterShafer({"rgb": (5,), "lidar": (5,)}).double()({"rgb": h["rgb"], "lidar": vacuous})
    torch.testing.assert_close(joint, alone)
    nobody = DempsterShafer({"lidar": (5,)}).double()({"lidar": vacuous})
    torch.testing.assert_close(nobody.exp(), torch.full((4, 5), 0.2, dtype=torch.float64))


def test_one_logit_is_two_classes_and_none_is_preferred():
    h = draw(size=1)
    operator = DempsterShafer(dict.fromkeys(SHAPES, (1,))).double()
    two = {name: torch.cat([-z / 2, z / 2], 1) for name, z in h.items()}
    both = DempsterShafer(dict.fromkeys(SHAPES, (2,))).double()(two)
    torch.testing.assert_close(operator(h).sigmoid()[:, 0], both.softmax(1)[:, 1])
    torch.testing.assert_close(operator({name: -z for name, z in h.items()}), -operator(h))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: DempsterShafer({"a": (3, 4)}), ConfigError, r"predictions \(O,\), but got {'a': \(3, 4\)}"),
        (lambda: DempsterShafer({"a": (3,), "b": (4,)}), ShapeMismatchError, "to have one shape"),
        (
            lambda: DempsterShafer(SHAPES).check_target(TargetSpec("multilabel", 5)),
            ConfigError,
            "'multiclass' or 'binary' target for DempsterShafer, .* but got 'multilabel': use WeightedAverage",
        ),
    ],
)
def test_misuse_is_explained(make, error, message):
    with pytest.raises(error, match=message):
        make()
