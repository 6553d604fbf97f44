import pytest
import torch
from torch.nn import functional as F

from fusionlit.errors import ConfigError, DataError
from fusionlit.tasks import BinaryClassification, MulticlassClassification
from fusionlit.types import TargetSpec

THREE = TargetSpec("multiclass", 3, ("cube", "sphere", "cone"))
BINARY = TargetSpec("binary", 1, ("no", "yes"))
WEIGHTS = [0.5, 2.0, 3.0]


def logits(*shape):
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_multiclass_loss_is_that_of_torch(smoothing, weights):
    target = torch.arange(20) % 3
    oracle = torch.nn.CrossEntropyLoss(weights and torch.tensor(weights), label_smoothing=smoothing)
    task = MulticlassClassification(THREE, smoothing, weights)
    torch.testing.assert_close(task.loss(logits(20, 3), target), oracle(logits(20, 3), target))


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.uint8, torch.bool])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_binary_loss_is_that_of_torch(smoothing, dtype):
    target = torch.arange(20) % 3 == 0
    smoothed = target.float() * (1 - smoothing) + smoothing / 2
    oracle = F.binary_cross_entropy_with_logits(logits(20, 1)[:, 0], smoothed)
    torch.testing.assert_close(BinaryClassification(BINARY, smoothing).loss(logits(20, 1), target.to(dtype)), oracle)


def test_binary_weights_are_those_of_the_two_classes():
    target = torch.arange(20) % 3 == 0
    losses = F.binary_cross_entropy_with_logits(logits(20, 1)[:, 0], target.float(), reduction="none")
    weights = torch.where(target, 4.0, 0.5)
    task = BinaryClassification(BINARY, class_weights=[0.5, 4.0])
    torch.testing.assert_close(task.loss(logits(20, 1), target), (losses * weights).sum() / weights.sum())


def test_binary_is_multiclass_with_a_zero_logit():
    target = torch.arange(20) % 2
    binary = BinaryClassification(BINARY, 0.1, [0.5, 4.0])
    multiclass = MulticlassClassification(TargetSpec("multiclass", 2), 0.1, [0.5, 4.0])
    both = torch.cat([torch.zeros(20, 1), logits(20, 1)], dim=1)
    torch.testing.assert_close(binary.loss(logits(20, 1), target), multiclass.loss(both, target))
    torch.testing.assert_close(binary.predict(logits(20, 1)), multiclass.predict(both)[:, 1])


def test_extreme_logits_stay_finite():
    z = torch.tensor([[1e4], [-1e4]], requires_grad=True)
    loss = BinaryClassification(BINARY).loss(z, torch.tensor([0, 1]))
    loss.backward()
    assert loss.item() == 1e4
    torch.testing.assert_close(z.grad, torch.tensor([[0.5], [-0.5]]))


def test_balanced_weights():
    target = torch.tensor([0] * 6 + [1] * 3 + [2])
    task = MulticlassClassification(THREE, class_weights="balanced")
    task.set_class_counts(torch.tensor([6, 3, 1]))
    losses = F.cross_entropy(logits(10, 3), target, reduction="none")
    mean_of_classes = (losses[:6].mean() + losses[6:9].mean() + losses[9:].mean()) / 3
    torch.testing.assert_close(task.loss(logits(10, 3), target), mean_of_classes)


def test_balanced_binary_weights():
    target = torch.tensor([0] * 8 + [1] * 2)
    task = BinaryClassification(BINARY, class_weights="balanced")
    task.set_class_counts(torch.tensor([8, 2]))
    losses = F.binary_cross_entropy_with_logits(logits(10, 1)[:, 0], target.float(), reduction="none")
    torch.testing.assert_close(task.loss(logits(10, 1), target), (losses[:8].mean() + losses[8:].mean()) / 2)


def test_multiclass_metrics_in_closed_form():
    target, predicted = torch.tensor([0, 0, 0, 0, 1, 1, 2, 2]), torch.tensor([0, 0, 0, 1, 1, 2, 2, 2])
    task = MulticlassClassification(THREE)
    metrics = task.metrics()
    metrics.update(task.predict(4 * F.one_hot(predicted, 3).float()), target)
    f1 = (2 * 3 / (3 + 4) + 2 * 1 / (2 + 2) + 2 * 2 / (3 + 2)) / 3  # 2 tp / (predicted + true)
    expected = {"accuracy": 6 / 8, "balanced_accuracy": (3 / 4 + 1 / 2 + 1) / 3, "f1": f1}
    assert metrics.compute() == pytest.approx(expected)


def test_binary_metrics_in_closed_form():
    target = torch.tensor([1, 0, 1, 1, 0, 0])
    z = torch.tensor([0.9, 0.1, 0.3, -0.5, -0.2, -2.0])[:, None]  # within [0, 1] logits would pass as probabilities
    task = BinaryClassification(BINARY)
    metrics = task.metrics()
    metrics.update(task.predict(z), target)
    ranked = (z[target == 1] > z[target == 0].T).float().mean().item()
    assert metrics.compute() == pytest.approx({"accuracy": 4 / 6, "auroc": ranked, "f1": 2 * 2 / (3 + 3)})


def test_logits_within_0_and_1_do_not_pass_as_probabilities():
    task = BinaryClassification(BINARY)
    metrics = task.metrics()
    metrics.update(task.predict(torch.tensor([[0.1], [0.2]])), torch.tensor([1, 1]))
    assert metrics.compute()["accuracy"] == 1


def test_probabilities():
    torch.testing.assert_close(MulticlassClassification(THREE).predict(torch.zeros(2, 3)), torch.full((2, 3), 1 / 3))
    p = BinaryClassification(BINARY).predict(torch.tensor([[0.0], [3.0]]).bfloat16())
    torch.testing.assert_close(p, torch.tensor([0.5, 1 / (1 + torch.tensor(-3.0).exp())]))


def test_label_of_torch_that_means_ignore_is_not_ignored():
    task = MulticlassClassification(THREE)
    task.loss(logits(2, 3), torch.tensor([0, 1]))  # the first batch is checked in any case
    with pytest.raises(IndexError, match="Target -100 is out of bounds"):
        task.loss(logits(2, 3), torch.tensor([0, -100]))


def test_labels_of_real_numbers():
    with pytest.raises(DataError, match=r"Expected a multiclass `target` of integer labels, but got torch\.float32"):
        MulticlassClassification(THREE).loss(logits(2, 3), torch.tensor([0.0, 1.0]))


@pytest.mark.parametrize("smoothing", [-0.1, 1.0])
@pytest.mark.parametrize(("task", "spec"), [(MulticlassClassification, THREE), (BinaryClassification, BINARY)])
def test_label_smoothing_out_of_range(task, spec, smoothing):
    with pytest.raises(ConfigError, match=rf"Expected `label_smoothing` to be in \[0, 1\), but got {smoothing}"):
        task(spec, label_smoothing=smoothing)


def test_binary_takes_two_class_weights():
    with pytest.raises(ConfigError, match=r"Expected `class_weights` to be 2 numbers >= 0, .*but got \[3.0\]"):
        BinaryClassification(BINARY, class_weights=[3.0])
