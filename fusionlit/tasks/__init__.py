"""Tasks: the kind of prediction, its loss and its metrics."""

from fusionlit.tasks.base import BatchMean, EpochMean, SampleLosses, Task, TaskFactory
from fusionlit.tasks.classification import BinaryClassification, MulticlassClassification
from fusionlit.tasks.multilabel import MultilabelClassification
from fusionlit.tasks.regression import Regression
from fusionlit.types import TargetSpec

__all__ = [
    "BatchMean",
    "BinaryClassification",
    "EpochMean",
    "MulticlassClassification",
    "MultilabelClassification",
    "Regression",
    "SampleLosses",
    "Task",
    "TaskFactory",
    "default_task",
]


def default_task(target: TargetSpec) -> Task:
    """The task for the kind of the target, with default arguments."""
    tasks = (MulticlassClassification, BinaryClassification, MultilabelClassification, Regression)
    return {task.kind: task for task in tasks}[target.kind](target)
