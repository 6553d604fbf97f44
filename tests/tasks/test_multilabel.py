import pytest
import torch
from torch.nn import functional as F

from fusionlit.errors import ConfigError
from fusionlit.tasks import MultilabelClassification
from fusionlit.types import TargetSpec

SPEC = TargetSpec("multilabel", 3, ("drama", "comedy", "noir"))
TARGET = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 1, 1], [1, 0, 0]])


def logits():
    return 3 * torch.randn(4, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.bool])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_loss_is_that_of_torch(smoothing, dtype):
    smoothed = TARGET * (1 - smoothing) + smoothing / 2
    oracle = F.binary_cross_entropy_with_logits(logits(), smoothed)
    torch.testing.assert_close(MultilabelClassification(SPEC, smoothing).loss(logits(), TARGET.to(dtype)), oracle)


def test_weights_are_those_of_the_labels():
    weights = torch.tensor([0.5, 1.0, 4.0])
    columns = F.binary_cross_entropy_with_logits(logits(), TARGET.float(), reduction="none").mean(0)
    task = MultilabelClassification(SPEC, class_weights=weights.tolist())
    torch.testing.assert_close(task.loss(logits(), TARGET), (weights * columns).sum() / weights.sum())


def test_balanced_weights():
    task = MultilabelClassification(SPEC, class_weights="balanced")
    task.set_class_counts(TARGET.sum(0))
    given = MultilabelClassification(SPEC, class_weights=[6 / (3 * 3), 6 / (3 * 2), 6 / (3 * 1)])
    torch.testing.assert_close(task.loss(logits(), TARGET), given.loss(logits(), TARGET))


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.bool])
def test_metrics_in_closed_form(dtype):
    predicted = torch.tensor([[1, 1, 0], [1, 1, 0], [1, 0, 1], [0, 0, 0]])
    task = MultilabelClassification(SPEC)
    metrics = task.metrics()
    metrics.update(task.predict(2.0 * predicted - 1), TARGET.to(dtype))
    f1 = [2 * 2 / (3 + 3), 2 * 1 / (2 + 2), 2 * 1 / (1 + 1)]  # 2 tp / (predicted + true)
    weighted = (3 * f1[0] + 2 * f1[1] + 1 * f1[2]) / 6
    assert metrics.compute() == pytest.approx({"f1_weighted": weighted, "f1_macro": sum(f1) / 3, "accuracy": 8 / 12})


def test_probabilities_are_independent():
    torch.testing.assert_close(MultilabelClassification(SPEC).predict(torch.zeros(2, 3)), torch.full((2, 3), 0.5))


def test_label_smoothing_out_of_range():
    with pytest.raises(ConfigError, match=r"Expected `label_smoothing` to be in \[0, 1\), but got 1.5"):
        MultilabelClassification(SPEC, label_smoothing=1.5)
