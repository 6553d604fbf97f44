"""The tasks' contract: each law finds a task that breaks it, and none of ours does."""

import inspect
from functools import partial

import pytest
import torch
from torchmetrics import MeanAbsoluteError, MetricCollection

import fusionlit.tasks
from fusionlit.tasks import (
    BinaryClassification,
    MulticlassClassification,
    MultilabelClassification,
    Regression,
    Task,
)
from fusionlit.tasks.base import SampleLosses
from fusionlit.testing import BrokenLawError, check_task, tasks
from fusionlit.types import TargetSpec

MULTICLASS, BINARY = TargetSpec("multiclass", 3), TargetSpec("binary", 1)
MULTILABEL, REGRESSION = TargetSpec("multilabel", 4), TargetSpec("regression", 2)
OURS = {
    "multiclass": (MulticlassClassification, MULTICLASS),
    "multiclass, balanced": (partial(MulticlassClassification, class_weights="balanced"), MULTICLASS),
    "multiclass, smoothed": (partial(MulticlassClassification, label_smoothing=0.1), MULTICLASS),
    "binary": (BinaryClassification, BINARY),
    "multilabel": (MultilabelClassification, MULTILABEL),
    "regression": (Regression, REGRESSION),
    "regression, mae": (partial(Regression, loss="mae"), REGRESSION),
    "regression, huber": (partial(Regression, loss="huber"), REGRESSION),
}


@pytest.mark.parametrize("name", OURS)
def test_ours_keep_every_law(name):
    check_task(*OURS[name])


def test_none_of_ours_is_left_out():
    offered = [getattr(fusionlit.tasks, name) for name in fusionlit.tasks.__all__]
    concrete = {o for o in offered if inspect.isclass(o) and issubclass(o, Task) and not inspect.isabstract(o)}
    assert concrete == {getattr(factory, "func", factory) for factory, _ in OURS.values()}


class NoTask:
    def __init__(self, target):
        pass

    def set_class_counts(self, counts):
        pass


class MeanOfTheBatch(Regression):
    def losses(self, prediction, target):
        loss, weight = super().losses(prediction, target)
        return SampleLosses(loss.mean() + 0 * loss, weight)


class OneNumber(Regression):
    def losses(self, prediction, target):
        loss, weight = super().losses(prediction, target)
        return SampleLosses(loss.mean(), weight)


class SeesTheAbsent(Regression):
    def mean_loss(self, prediction, target, present=None):
        return super().mean_loss(prediction, target, None if present is None else torch.ones_like(present))


class Detached(Regression):
    def losses(self, prediction, target):
        loss, weight = super().losses(prediction.detach() + 0 * prediction, target)
        return SampleLosses(loss, weight)


class Upwards(Regression):
    def losses(self, prediction, target):
        loss, weight = super().losses(-prediction, target)
        return SampleLosses(loss, weight)


class WrongDirection(Regression):
    higher_is_better = True


class Logits(MulticlassClassification):
    def predict(self, prediction):
        return prediction.float()


class Unnormalised(MulticlassClassification):
    def predict(self, prediction):
        return super().predict(prediction) / 2


class Half(Regression):
    def predict(self, prediction):
        return prediction


class OtherMetric(Regression):
    def metrics(self):
        return MetricCollection({"mae": MeanAbsoluteError()})


class OtherScores(Regression):
    def scores(self, prediction, target):
        return (prediction - target).abs().mean(1)


class LastBatchError(MeanAbsoluteError):
    def update(self, preds, target):
        self.reset()
        super().update(preds, target)


class ForgetsBatches(Regression):
    def metrics(self):
        return MetricCollection({"mse": super().metrics()["mse"], "mae": LastBatchError()})


class TakesAnything(Regression):
    def check_values(self, target):
        pass


BROKEN = [
    (NoTask, REGRESSION, tasks.it_is_a_task),
    (OneNumber, REGRESSION, tasks.losses_are_each_samples_own),
    (MeanOfTheBatch, REGRESSION, tasks.losses_are_each_samples_own),
    (SeesTheAbsent, REGRESSION, tasks.absent_samples_reach_nothing),
    (Detached, REGRESSION, tasks.gradient_is_right),
    (Logits, MULTICLASS, tasks.predictions_fit_the_target),
    (Unnormalised, MULTICLASS, tasks.predictions_fit_the_target),
    (Half, REGRESSION, tasks.predictions_fit_the_target),
    (OtherMetric, REGRESSION, tasks.metrics_do_not_depend_on_batches),
    (ForgetsBatches, REGRESSION, tasks.metrics_do_not_depend_on_batches),
    (OtherScores, REGRESSION, tasks.main_metric_is_the_mean_score),
    (Upwards, REGRESSION, tasks.a_step_down_the_gradient_predicts_better),
    (WrongDirection, REGRESSION, tasks.a_step_down_the_gradient_predicts_better),
    (TakesAnything, REGRESSION, tasks.impossible_values_are_refused),
]


@pytest.mark.parametrize(("factory", "target", "law"), BROKEN)
def test_each_law_finds_a_task_that_breaks_it(factory, target, law):
    with pytest.raises(BrokenLawError) as error:
        check_task(factory, target)
    assert error.value.law is law
