"""The contract of every task: presence, precision, shapes and first-batch checks."""

import copy
import inspect

import pytest
import torch
from torchmetrics.classification import MulticlassF1Score, MulticlassRecall

import fusionlit.tasks
from fusionlit.errors import ConfigError, DataError
from fusionlit.tasks import (
    BatchMean,
    BinaryClassification,
    EpochMean,
    MulticlassClassification,
    MultilabelClassification,
    Regression,
    Task,
    default_task,
)
from fusionlit.types import TargetSpec

B = 6
SPECS = {
    "multiclass": TargetSpec("multiclass", 3),
    "binary": TargetSpec("binary", 1),
    "multilabel": TargetSpec("multilabel", 4),
    "regression": TargetSpec("regression", 2),
}
TARGETS = {
    "multiclass": torch.tensor([0, 1, 2, 2, 1, 0]),
    "binary": torch.tensor([0, 1, 1, 0, 1, 0]),
    "multilabel": torch.tensor([[0, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 0, 1], [1, 0, 0, 1]]),
    "regression": torch.tensor([[0.5, -1.0], [2.0, 0.0], [1.0, 1.0], [-3.0, 0.5], [0.0, 0.0], [4.0, 2.0]]),
}
TASKS = {
    "multiclass": lambda spec: MulticlassClassification(spec, label_smoothing=0.1, class_weights=[1.0, 2.0, 3.0]),
    "binary": lambda spec: BinaryClassification(spec, label_smoothing=0.1, class_weights=[1.0, 3.0]),
    "multilabel": lambda spec: MultilabelClassification(spec, label_smoothing=0.1, class_weights=[1.0, 2.0, 3.0, 4.0]),
    "regression": lambda spec: Regression(spec, loss="huber"),
}


@pytest.fixture(params=SPECS)
def kind(request):
    return request.param


@pytest.fixture
def task(kind):
    return TASKS[kind](SPECS[kind])


@pytest.fixture
def target(kind):
    return TARGETS[kind]


@pytest.fixture
def prediction(kind):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(B, SPECS[kind].size, dtype=torch.float64, generator=generator, requires_grad=True)


def test_every_task_is_in_the_list_and_the_default_of_its_kind():
    offered = [getattr(fusionlit.tasks, name) for name in fusionlit.tasks.__all__]
    concrete = {o for o in offered if inspect.isclass(o) and issubclass(o, Task) and not inspect.isabstract(o)}
    assert concrete == {type(default_task(spec)) for spec in SPECS.values()}
    assert all(default_task(spec).kind == kind for kind, spec in SPECS.items())


def test_task_of_another_kind(kind):
    other = BinaryClassification if kind != "binary" else Regression
    with pytest.raises(
        ConfigError, match=f"Expected a task for a '{kind}' target, but got {other.__name__}.*Leave out `task`"
    ):
        other(SPECS[kind])


def test_gradcheck(task, prediction, target):
    assert torch.autograd.gradcheck(lambda p: task.loss(p, target), (prediction,))


def test_gradcheck_with_absent_samples(task, prediction, target):
    present = torch.tensor([True, False, True, True, False, True])
    assert torch.autograd.gradcheck(lambda p: task.loss(p, target, present), (prediction,))


def test_mean_is_over_the_present_samples(task, prediction, target):
    present = torch.tensor([True, False, True, True, False, False])
    masked, alone = task.loss(prediction, target, present), task.loss(prediction[present], target[present])
    torch.testing.assert_close(masked, alone)
    assert not torch.isclose(masked, task.loss(prediction, target))


def test_all_present_is_the_default(task, prediction, target):
    everyone = torch.ones(B, dtype=torch.bool)
    torch.testing.assert_close(task.loss(prediction, target, everyone), task.loss(prediction, target))


def test_nothing_of_an_absent_sample_gets_in(task, prediction, target):
    present = torch.tensor([True, False, True, True, True, True])
    spoilt = prediction.detach().clone()
    spoilt[1] = torch.nan
    spoilt.requires_grad_()
    loss, clean = task.loss(spoilt, target, present), task.loss(prediction, target, present)
    assert torch.equal(loss, clean)
    loss.backward()
    clean.backward()
    assert torch.equal(spoilt.grad, prediction.grad)
    assert not spoilt.grad[1].any()
    assert spoilt.grad[0].any()


def test_no_sample_present_is_zero_with_a_graph(task, prediction, target):
    spoilt = torch.full_like(prediction, torch.nan).requires_grad_()
    loss = task.loss(spoilt, target, torch.zeros(B, dtype=torch.bool))
    assert loss.item() == 0
    loss.backward()
    assert torch.equal(spoilt.grad, torch.zeros_like(spoilt))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_low_precision_is_computed_in_float32(task, prediction, target, dtype):
    low = prediction.detach().to(dtype)
    loss = task.to(dtype).loss(low.requires_grad_(), target)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, TASKS[task.kind](task.target).loss(low.float(), target))
    loss.backward()
    assert low.grad.dtype == dtype


def test_batch_of_one(task, prediction, target):
    assert task.loss(prediction[:1], target[:1]).shape == ()
    assert task.predict(prediction[:1]).shape[0] == 1


def test_metrics_take_what_predict_gives(task, prediction, target):
    metrics = task.metrics()
    for rows in (slice(0, 4), slice(4, 5), slice(5, 6)):
        metrics.update(task.predict(prediction[rows].detach().bfloat16()), target[rows])
    whole = task.metrics()
    whole.update(task.predict(prediction.detach().bfloat16()), target)
    values = metrics.compute()
    assert all(value.isfinite() and value.shape == () for value in values.values())
    for name, value in whole.compute().items():
        torch.testing.assert_close(values[name], value)


def test_every_call_gives_fresh_metrics(task, prediction, target):
    first, second = task.metrics(), task.metrics()
    first.update(task.predict(prediction.detach()), target)
    assert all(metric.update_count == 0 for metric in second.values())


def test_one_sample_has_metrics_without_warning_or_error(task, prediction, target):
    metrics = task.metrics()
    metrics.update(task.predict(prediction[:1].detach()), target[:1])
    undefined = {name for name, value in metrics.compute().items() if value.isnan()}
    assert undefined == {"binary": {"auroc"}, "regression": {"r2"}}.get(task.kind, set())


def test_wrong_shapes(task, prediction, target):
    with pytest.raises(
        ConfigError, match=r"Expected the prediction for this \w+ target to be \(B, \d\), but got \(6, 7\)"
    ):
        task.loss(torch.zeros(B, 7), target)
    with pytest.raises(
        DataError,
        match=rf"Expected a {task.kind} `target` of shape .*, but got \(5,.*Change the `target` of the data set",
    ):
        task.loss(prediction, target[:5])
    with pytest.raises(DataError, match=rf"Expected a {task.kind} `target` of shape"):
        task.loss(prediction, target.unsqueeze(-1))


WRONG = {
    "multiclass": (
        torch.tensor([0, 1, 2, 3, 1, 0]),
        "of labels from 0 to 2, but got labels from 0 to 3. Number the classes",
    ),
    "binary": (torch.tensor([0, 1, 1, 2, 1, 0]), "Expected a `target` of zeros and ones, but got 2"),
    "multilabel": (TARGETS["multilabel"] * 0.5, "Expected a `target` of zeros and ones, but got 0.5"),
    "regression": (TARGETS["regression"] / 0, "Expected a regression `target` of finite numbers"),
}


def test_wrong_values_on_the_first_batch_of_training_and_of_evaluation(task, prediction, target):
    wrong, message = WRONG[task.kind]
    for mode in (True, False):
        fresh = copy.deepcopy(task)
        fresh.train(not mode).loss(prediction, target)
        with pytest.raises(DataError, match=message):
            fresh.train(mode).loss(prediction, wrong)


def test_values_are_read_on_the_first_batch_only(task, prediction, target, monkeypatch):
    task.loss(prediction, target)
    monkeypatch.setattr(torch.Tensor, "__bool__", lambda _: pytest.fail("synchronises with the device"))
    task.loss(prediction, target)
    task.loss(prediction, target, torch.tensor([True, False, True, True, False, False]))


def test_epoch_loss_weighs_batches_and_forgets_on_reset():
    mean = EpochMean()
    for value, weight in ((1.0, 3.0), (5.0, 1.0), (9.0, 0.0)):
        mean.update(BatchMean(torch.tensor(value), torch.tensor(weight)))
    assert mean.compute() == 2.0
    mean.update(BatchMean(torch.tensor(torch.nan), torch.tensor(1.0)))
    assert mean.compute().isnan()
    mean.reset()
    mean.update(BatchMean(torch.tensor(7.0), torch.tensor(2.0)))
    assert mean.compute() == 7.0


def test_counts_by_class_are_those_of_torchmetrics():
    torch.manual_seed(0)
    ours = MulticlassClassification(TargetSpec("multiclass", 4)).metrics()
    arguments = {"num_classes": 4, "average": "macro"}
    theirs = {"balanced_accuracy": MulticlassRecall(**arguments), "f1": MulticlassF1Score(**arguments)}
    for size in (1, 7, 50):
        probability, target = torch.randn(size, 4).softmax(1), torch.randint(0, 3, (size,))  # the last is never there
        ours.update(probability, target)
        for metric in theirs.values():
            metric.update(probability, target)
    computed = ours.compute()
    for name, metric in theirs.items():
        torch.testing.assert_close(computed[name], metric.compute())
