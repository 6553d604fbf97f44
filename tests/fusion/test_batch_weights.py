"""Weights per sample, reported as their mean over the last batch."""

import pytest
import torch

from fusionlit.fusion import BottleneckAttention, CrossModalAttention, GatedFusion
from fusionlit.fusion.batch_weights import BatchWeights

SHAPES = {"a": (4,), "b": (4,), "c": (4,), "d": (4,)}
OPERATORS = {
    "gated": lambda: GatedFusion(SHAPES),
    "bottleneck": lambda: BottleneckAttention(SHAPES, width=4, heads=2),
    "cross-modal": lambda: CrossModalAttention(SHAPES, width=4, heads=2),
}


@pytest.fixture(params=OPERATORS)
def operator(request):
    torch.manual_seed(0)
    return OPERATORS[request.param]()


def test_mean_is_over_the_samples_that_have_the_source():
    kept = BatchWeights(["a", "b", "c"])
    weights = torch.tensor([[0.2, 0.8, 9.0], [0.6, 9.0, 9.0]])
    there = torch.tensor([[True, True, False], [True, False, False]])
    kept.update(weights, there)
    expected = {"a": 0.4, "b": 0.8, "c": 1 / 3}  # nobody has c: as before
    assert {source: weight.item() for source, weight in kept.mean_weights().items()} == pytest.approx(expected)


def test_what_was_reported_stays():
    kept = BatchWeights(["a", "b"])
    before = kept.mean_weights()
    kept.update(torch.tensor([[0.9, 0.1]]), torch.ones(1, 2, dtype=torch.bool))
    assert before["a"].item() == 0.5
    assert kept.mean_weights()["a"].item() == pytest.approx(0.9)


def test_weights_are_those_of_the_last_batch_and_of_no_parameter(operator):
    assert {source: w.item() for source, w in operator.fusion_weights().items()} == dict.fromkeys(SHAPES, 0.25)
    operator({source: torch.randn(8, 4) for source in SHAPES})
    weights = operator.fusion_weights()
    assert list(weights) == list(SHAPES)
    assert len({w.item() for w in weights.values()}) == 4
    assert all(0 < w < 1 and not w.requires_grad for w in weights.values())
    assert not list(operator.fusion_parameters())
    saved = {name for name, _ in operator.named_parameters()} | {"batch_weights.mean"}
    assert set(operator.state_dict()) == saved


def test_evaluation_changes_no_weight(operator):
    operator({source: torch.randn(8, 4) for source in SHAPES})
    trained = operator.fusion_weights()
    operator.eval()({source: torch.randn(8, 4) for source in SHAPES})
    torch.testing.assert_close(operator.fusion_weights(), trained, atol=0, rtol=0)
    operator.train()({source: torch.randn(8, 4) for source in SHAPES})
    assert operator.fusion_weights()["a"] != trained["a"]


def test_one_graph_with_the_weights_in_it(operator):
    features = {source: torch.randn(8, 4) for source in SHAPES}
    presence = {source: torch.arange(8) % 4 != k for k, source in enumerate(SHAPES)}
    expected = operator(features, presence)
    weights = operator.fusion_weights()
    operator({source: torch.zeros(8, 4) for source in SHAPES})
    compiled = torch.compile(operator, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(features, presence), expected)
    torch.testing.assert_close(operator.fusion_weights(), weights)
