"""Calibration error against torchmetrics', and temperatures in every classification task."""

import pytest
import torch
from torch.nn.functional import cross_entropy
from torchmetrics.classification import BinaryCalibrationError, MulticlassCalibrationError

from fusionlit.errors import ConfigError
from fusionlit.tasks import Regression, default_task
from fusionlit.tasks.calibration import CalibrationError, Temperature
from fusionlit.types import TargetSpec

SPECS = {
    "multiclass": TargetSpec("multiclass", 4),
    "binary": TargetSpec("binary", 1),
    "multilabel": TargetSpec("multilabel", 3),
}


def draw(kind, batch=200):
    generator = torch.Generator().manual_seed(0)
    prediction = 2 * torch.randn(batch, SPECS[kind].size, generator=generator)
    high = 4 if kind == "multiclass" else 2
    target = torch.randint(high, (batch, 3) if kind == "multilabel" else (batch,), generator=generator)
    return prediction, target


@pytest.mark.parametrize("kind", SPECS)
def test_error_is_that_of_torchmetrics_over_batches(kind):
    task = default_task(SPECS[kind])
    prediction, target = draw(kind)
    ours = task.evaluation_metrics()
    theirs = MulticlassCalibrationError(4) if kind == "multiclass" else BinaryCalibrationError()
    for rows in (slice(0, 90), slice(90, 200)):
        probability = task.predict(prediction[rows])
        ours.update(probability, target[rows])
        theirs.update(probability.flatten() if kind == "multilabel" else probability, target[rows].flatten())
    computed = ours.compute()
    torch.testing.assert_close(computed.pop("calibration_error"), theirs.compute())
    plain = task.metrics()
    plain.update(task.predict(prediction), target)
    assert computed == pytest.approx({name: value.item() for name, value in plain.compute().items()})


def test_a_confidence_of_one_belongs_to_the_last_bin():
    metric = CalibrationError(bins=2)
    metric.update(torch.tensor([[1.0, 0.0], [0.4, 0.6]]), torch.tensor([0, 0]))
    assert metric.count.tolist() == [0, 2]
    assert metric.compute().item() == pytest.approx(abs(1 - 1.6) / 2)


def test_nan_stays_nan_and_does_not_leave_the_bins():
    metric = CalibrationError()
    metric.update(torch.full((2, 3), torch.nan), torch.tensor([0, 1]))
    assert metric.compute().isnan()
    assert metric.count.sum() == 2


@pytest.mark.parametrize("kind", SPECS)
def test_temperature_divides_the_logits_and_keeps_order_and_loss(kind):
    task = default_task(SPECS[kind])
    prediction, target = draw(kind)
    before, loss = task.predict(prediction), task.loss(prediction, target)
    task.temperature.value.fill_(2.5)
    after = task.predict(prediction)
    torch.testing.assert_close(after, default_task(SPECS[kind]).predict(prediction / 2.5))
    hard = [(p.argmax(1) if kind == "multiclass" else p > 0.5) for p in (before, after)]
    assert torch.equal(*hard)
    assert torch.equal(task.loss(prediction, target), loss)
    other = default_task(SPECS[kind])
    other.load_state_dict(task.state_dict())
    torch.testing.assert_close(other.predict(prediction), after)


@pytest.mark.parametrize("kind", SPECS)
def test_cross_entropy_of_the_class_logits_is_that_of_the_probabilities(kind):
    task = default_task(SPECS[kind])
    prediction, target = draw(kind)
    logits, labels = task.class_logits(prediction, target)
    per_sample = 3 if kind == "multilabel" else 1
    torch.testing.assert_close(per_sample * cross_entropy(logits, labels), task.loss(prediction, target) * _scale(kind))


def _scale(kind):
    return 3.0 if kind == "multilabel" else 1.0  # the loss of labels is their mean


def test_half_precision_is_widened_and_a_temperature_of_one_changes_nothing():
    z = torch.randn(5, 3)
    assert torch.equal(Temperature()(z), z)
    assert Temperature()(z.bfloat16()).dtype == torch.float32


def test_regression_has_neither():
    task = Regression(TargetSpec("regression", 2))
    assert task.temperature is None
    assert "calibration_error" not in task.evaluation_metrics()
    with pytest.raises(ConfigError, match="a classification task, but Regression has no class logits"):
        task.class_logits(torch.zeros(1, 2), torch.zeros(1, 2))
