"""Confidence of predictions against sets of classes, closed forms and torch's own distributions."""

from functools import reduce
from itertools import combinations, product

import pytest
import torch

from fusionlit.functional import dempster_shafer, energy_log_weights, mixture_log_odds, two_classes, uncertainty

CLASSES = 4
FRAME = frozenset(range(CLASSES))
SUBSETS = [frozenset(c) for size in range(1, CLASSES + 1) for c in combinations(range(CLASSES), size)]


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def masses(evidence: list[float]) -> dict[frozenset[int], float]:
    """The opinion as masses of subsets of the frame of discernment."""
    total = CLASSES + sum(evidence)
    return {**{frozenset([o]): e / total for o, e in enumerate(evidence)}, FRAME: CLASSES / total}


def combine(first: dict[frozenset[int], float], second: dict[frozenset[int], float]) -> dict[frozenset[int], float]:
    """Dempster's rule over all pairs of subsets: masses of the intersections, but for the conflict."""
    joint = dict.fromkeys(SUBSETS, 0.0)
    conflict = 0.0
    for a, b in product(SUBSETS, SUBSETS):
        mass = first.get(a, 0.0) * second.get(b, 0.0)
        if a & b:
            joint[a & b] += mass
        else:
            conflict += mass
    return {subset: mass / (1 - conflict) for subset, mass in joint.items()}


@pytest.mark.parametrize("members", [1, 2, 3, 5])
def test_dempsters_rule_over_all_subsets(members):
    evidence = 3 * draw(members, CLASSES).exp()
    joint = reduce(combine, [masses(e) for e in evidence.tolist()])
    u = joint[FRAME]
    expected = torch.tensor([1 + CLASSES * joint[frozenset([o])] / u for o in range(CLASSES)], dtype=torch.float64)
    torch.testing.assert_close(dempster_shafer(evidence).exp(), expected, rtol=1e-10, atol=0)
    mean = torch.distributions.Dirichlet(expected).mean
    torch.testing.assert_close(dempster_shafer(evidence).softmax(-1), mean)
    # masses of what is neither one class nor any never arise: that is what makes the rule a reduced one
    assert all(mass == 0 for subset, mass in joint.items() if 1 < len(subset) < CLASSES)


def test_opinions_without_evidence():
    vacuous = torch.zeros(2, 3, CLASSES, dtype=torch.float64)
    assert torch.equal(dempster_shafer(vacuous), torch.zeros(3, CLASSES, dtype=torch.float64))
    sure = draw(1, 3, CLASSES).exp()
    torch.testing.assert_close(dempster_shafer(torch.cat([vacuous, sure])).exp(), 1 + sure[0])


def test_grouping_and_order_of_the_opinions_do_not_matter():
    a, b, c = draw(3, 1, 5, CLASSES).exp()
    together = dempster_shafer(torch.stack([a, b, c]))
    for first, second, third in ((a, b, c), (b, c, a), (c, b, a)):
        two = dempster_shafer(torch.stack([first, second])).exp() - 1  # the opinion of two, as evidence
        torch.testing.assert_close(dempster_shafer(torch.stack([two, third])), together)


def test_agreeing_opinions_are_surer_than_each():
    evidence = torch.tensor([[3.0, 0.0], [2.0, 0.0]], dtype=torch.float64)
    joint = dempster_shafer(evidence).exp() - 1
    assert uncertainty(joint) < uncertainty(evidence).min()
    torch.testing.assert_close(uncertainty(evidence), torch.tensor([2 / 5, 2 / 4], dtype=torch.float64))


def test_many_sure_opinions_do_not_overflow():
    evidence = torch.full((40, 1, 3), 1e6) * torch.tensor([1.0, 0.5, 0.0])
    evidence.requires_grad_()
    out = dempster_shafer(evidence)
    expected = 40 * (evidence.detach()[0].double() / 3).log1p() + torch.tensor([3.0, 3.0, 1.0]).double().log()
    torch.testing.assert_close(out.double(), expected, rtol=1e-6, atol=0)
    out.sum().backward()
    assert evidence.grad.isfinite().all()


def test_gradient_of_dempsters_rule():
    evidence = draw(3, 2, CLASSES).exp().requires_grad_()
    assert torch.autograd.gradcheck(dempster_shafer, evidence)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_weights_by_energy_in_closed_form(temperature):
    logits = draw(3, 5, CLASSES)
    energy = -temperature * (logits / temperature).exp().sum(-1).log()
    shares = (-energy / temperature).exp().T
    expected = shares / shares.sum(1, keepdim=True)
    torch.testing.assert_close(energy_log_weights(logits, temperature).exp(), expected)


def test_at_temperature_one_the_mixture_adds_unnormalised_densities():
    logits = draw(3, 5, CLASSES)
    mixture = mixture_log_odds(logits, energy_log_weights(logits).T[..., None], exclusive=True)
    added = logits.exp().sum(0)
    torch.testing.assert_close(mixture.exp(), added / added.sum(1, keepdim=True))


def test_limits_of_the_temperature():
    logits = draw(3, 5, CLASSES)
    torch.testing.assert_close(
        energy_log_weights(logits, 1e6).exp(), torch.full((5, 3), 1 / 3).double(), atol=1e-5, rtol=0
    )
    surest = torch.nn.functional.one_hot(logits.amax(-1).argmax(0), 3)
    torch.testing.assert_close(energy_log_weights(logits, 1e-3).exp().round(), surest.double())


def test_absent_members_have_weight_zero_and_a_finite_gradient():
    logits = (1e3 * draw(2, 3, CLASSES)).float().requires_grad_()
    presence = torch.tensor([[True, True], [True, False], [False, True]])
    weights = energy_log_weights(logits, presence=presence).exp()
    assert not weights[~presence].any()
    torch.testing.assert_close(weights.sum(1), torch.ones(3))
    weights.square().sum().backward()
    assert logits.grad.isfinite().all()


def test_one_logit_as_two():
    z = draw(6, 1)
    torch.testing.assert_close(two_classes(z).softmax(-1)[:, 1:], z.sigmoid())
    torch.testing.assert_close(two_classes(-z), two_classes(z).flip(-1))
