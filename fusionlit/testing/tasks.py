"""The contract of a task."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd import gradcheck
from torch.autograd.gradcheck import GradcheckError
from torchmetrics import MetricCollection

from fusionlit.errors import DataError
from fusionlit.tasks import Task, TaskFactory
from fusionlit.testing.cases import name_of
from fusionlit.testing.laws import uphold
from fusionlit.types import TargetSpec

SAMPLES = 24


def check_task(factory: TaskFactory, target: TargetSpec) -> None:
    """Check the laws of a task.

    Args:
        factory: From the target to the task: the class itself, or a partial of it.
        target: What is to be predicted, of the kind that the task serves.

    Raises:
        BrokenLawError: If a law is broken; the message says which, what happened, and what to do.
    """
    uphold(TaskCase(factory, target), LAWS)


@dataclass(frozen=True)
class TaskCase:
    """A task for one target, with random predictions and true values."""

    factory: TaskFactory
    target: TargetSpec

    def __str__(self) -> str:
        return f"{name_of(self.factory)} for a {self.target.kind} target of size {self.target.size}"

    def build(self) -> Task:
        """A new task, with class counts where there are classes."""
        task = self.factory(self.target)
        if self.target.kind != "regression":
            task.set_class_counts(torch.arange(1, max(self.target.size, 2) + 1))
        return task

    def truth(self) -> Tensor:
        """True values, in which every class occurs."""
        generator, size = torch.Generator().manual_seed(1), self.target.size
        match self.target.kind:
            case "multiclass":
                return torch.arange(SAMPLES) % size
            case "binary":
                return torch.arange(SAMPLES) % 2
            case "multilabel":
                return (torch.arange(SAMPLES)[:, None] + torch.arange(size)) % 2
            case "regression":
                return torch.randn(SAMPLES, size, generator=generator, dtype=torch.float64)

    def predictions(self) -> Tensor:
        """Random outputs of a head."""
        generator = torch.Generator().manual_seed(2)
        return torch.randn(SAMPLES, self.target.size, generator=generator, dtype=torch.float64)

    def perfect(self) -> Tensor:
        """The outputs of a head that is always right, and sure of it."""
        truth = self.truth()
        match self.target.kind:
            case "multiclass":
                return 20.0 * torch.nn.functional.one_hot(truth, self.target.size) - 10
            case "binary":
                return 20.0 * truth[:, None] - 10
            case "multilabel":
                return 20.0 * truth - 10
            case "regression":
                return truth


def it_is_a_task(case: TaskCase) -> str | None:
    """A task is a subclass of `fusionlit.tasks.Task`, for the kind of target that it says."""
    made = case.factory(case.target)
    return None if isinstance(made, Task) else f"it is a {type(made).__name__}."


def losses_are_each_samples_own(case: TaskCase) -> str | None:
    """`losses` gives a loss and a weight `(B,)`, finite, the weight not negative, and each sample's own."""
    task, prediction, truth = case.build(), case.predictions(), case.truth()
    loss, weight = task.losses(prediction, truth)
    if (loss.shape, weight.shape) != ((SAMPLES,), (SAMPLES,)):
        return f"they are {tuple(loss.shape)} and {tuple(weight.shape)} of a batch of {SAMPLES}."
    if not loss.isfinite().all() or not weight.isfinite().all() or (weight < 0).any():
        return "a loss or a weight is not finite, or a weight is negative."
    alone, _ = task.losses(prediction[:3], truth[:3])
    if torch.allclose(alone, loss[:3]):
        return None
    return "the loss of the first three samples differs when they come alone. Use no mean over the batch."


def absent_samples_reach_nothing(case: TaskCase) -> str | None:
    """With `present`, the loss is that of the present samples alone, and what absent ones predict, NaN too, is lost."""
    task, prediction, truth = case.build(), case.predictions(), case.truth()
    present = torch.arange(SAMPLES) % 3 > 0
    alone = task.loss(prediction[present], truth[present])
    broken = prediction.masked_fill(~present[:, None], torch.nan).requires_grad_()
    loss = task.loss(broken, truth, present)
    torch.autograd.backward(loss)
    if not torch.allclose(loss, alone):
        return f"it is {loss:.6g}, and {alone:.6g} for the present ones alone."
    return None if broken.grad is not None and broken.grad.isfinite().all() else "the gradient is not finite."


def gradient_is_right(case: TaskCase) -> str | None:
    """The gradient of the loss is that of the function, by finite differences."""
    task, truth = case.build(), case.truth()
    try:
        gradcheck(lambda x: task.loss(x, truth), (case.predictions().requires_grad_(),))
    except GradcheckError as error:
        return f"it is another: look for `.detach()` or a rounding. torch says: {error}"
    return None


def a_step_down_the_gradient_predicts_better(case: TaskCase) -> str | None:
    """Following the gradient of the loss leads to the truth: `main_metric` gets as good as that of a perfect answer."""
    task, truth, x = case.build(), case.truth(), case.predictions().requires_grad_()
    optimizer = torch.optim.Adam([x], lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        torch.autograd.backward(task.loss(x, truth))
        optimizer.step()
    learned, best, random = (_main(task, value.detach(), truth) for value in (x, case.perfect(), case.predictions()))
    better = best > random if task.higher_is_better else best < random
    if not better:
        return (
            f"`{task.main_metric}` is {best:.4g} for a perfect answer, and {random:.4g} for a random one: is"
            " `higher_is_better` right?"
        )
    if abs(learned - best) > 0.05 * abs(random - best):
        return f"it leads to a `{task.main_metric}` of {learned:.4g}, where a perfect answer has {best:.4g}."
    return None


def predictions_fit_the_target(case: TaskCase) -> str | None:
    """`predict` gives the target's shape (`multiclass`: `(B, K)`) in float32 or finer; multiclass sums to 1."""
    task, truth = case.build(), case.truth()
    shape = (SAMPLES, case.target.size) if case.target.kind == "multiclass" else tuple(truth.shape)
    out = task.predict(case.predictions())
    if tuple(out.shape) != shape:
        return f"it gives {tuple(out.shape)}, not {shape}."
    if case.target.kind != "regression" and ((out < 0) | (out > 1)).any():
        return "some numbers are not in [0, 1]."
    if case.target.kind == "multiclass" and not torch.allclose(out.sum(1), torch.ones(SAMPLES, dtype=out.dtype)):
        return "the probabilities of a sample's classes do not sum to 1."
    half = task.predict(case.predictions().half())
    return None if half.dtype == torch.float32 else f"of half precision comes {half.dtype}, not float32."


def metrics_do_not_depend_on_batches(case: TaskCase) -> str | None:
    """`metrics` and `evaluation_metrics` have `main_metric`, and say of two uneven batches what they say of one."""
    task, truth, predicted = case.build(), case.truth(), case.build().predict(case.predictions())
    for make in (task.metrics, task.evaluation_metrics):
        if task.main_metric not in (once := make()):
            return f"`{make.__name__}` has no {task.main_metric!r}, only {list(once)}."
        twice = make()
        once.update(predicted, truth)
        for part in (slice(5), slice(5, None)):
            twice.update(predicted[part], truth[part])
        one, two = once.compute(), twice.compute()
        differing = [name for name in one if not torch.allclose(one[name], two[name], rtol=1e-4, equal_nan=True)]
        if differing:
            return f"{differing} of `{make.__name__}` are others when 24 samples come as 5 and 19."
    return None


def main_metric_is_the_mean_score(case: TaskCase) -> str | None:
    """The mean of `scores` over samples is `main_metric`."""
    task, prediction, truth = case.build(), case.predictions(), case.truth()
    scores, metric = task.scores(prediction, truth), _main(task, prediction, truth)
    if scores.shape != (SAMPLES,):
        return f"`scores` are {tuple(scores.shape)} of a batch of {SAMPLES}."
    mean = scores.double().mean().item()
    return None if abs(mean - metric) < 1e-4 else f"the mean is {mean:.6g}, and the metric {metric:.6g}."


def impossible_values_are_refused(case: TaskCase) -> str | None:
    """`check_values` refuses, with a DataError, what no model can predict: a class that is not there, NaN."""
    task = case.build()
    task.check_values(case.truth())
    classes = case.target.size if case.target.kind == "multiclass" else 2
    for impossible in (torch.nan, torch.inf) if case.target.kind == "regression" else (classes, -1):
        wrong = case.truth().clone()
        wrong[0] = impossible
        try:
            task.check_values(wrong)
        except DataError:
            continue
        return f"it accepts {impossible}."
    return None


def _main(task: Task, prediction: Tensor, truth: Tensor) -> float:
    metrics: MetricCollection = task.metrics()
    metrics.update(task.predict(prediction), truth)
    return float(metrics.compute()[task.main_metric])


LAWS = [
    it_is_a_task,
    losses_are_each_samples_own,
    absent_samples_reach_nothing,
    gradient_is_right,
    predictions_fit_the_target,
    metrics_do_not_depend_on_batches,
    main_metric_is_the_mean_score,
    a_step_down_the_gradient_predicts_better,
    impossible_values_are_refused,
]
