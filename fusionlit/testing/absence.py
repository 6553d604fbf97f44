"""Laws of missing modalities, for operators and fusion models."""

import torch
from torch import Tensor, nn

from fusionlit.functional import per_sample
from fusionlit.fusion import Features, Presence
from fusionlit.models.presence import complete
from fusionlit.testing.cases import Case, close, reseed, subsets, weigh

GARBAGE = (torch.nan, torch.inf, 1e30)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
REMEDY = (
    "In an operator, get the sources from `self.fill_missing(features, presence, value=...)`; in a fusion model, the"
    " features from `Imputation`."
)


def presence_of_all_is_no_presence(case: Case) -> str | None:
    """Presence masks that are all true give the same result as no presence."""
    module, inputs = case.build(), case.inputs()
    if close(case.run(module, inputs, complete(None, inputs)), case.run(module, inputs)):
        return None
    return "the results differ."


def every_subset_is_answered(case: Case) -> str | None:
    """Every nonempty subset of the sources gives a finite result and finite gradients."""
    presence = subsets(list(case.inputs(1)))
    for row in range(samples(presence)):
        there = {name: x[row : row + 1] for name, x in presence.items()}
        result, gradients = results(case, case.inputs(1), there, training=False)
        wrong = [name for name, g in gradients.items() if not g.isfinite().all()]
        if not result.isfinite().all() or wrong:
            what = f"gradients of {wrong} are" if wrong else "result is"
            return f"with only {having(there)}, the {what} not finite."
    return None


def absent_content_reaches_nothing(case: Case) -> str | None:
    """The values of a missing source, even NaN, affect neither the result nor any gradient, also in training."""
    presence = subsets(list(case.inputs(1)))
    inputs = case.inputs(samples(presence))
    for training in (False, True):
        mode = "training" if training else "evaluation"
        clean, gradients = results(case, holding(0.0, inputs, presence), presence, training)
        for garbage in GARBAGE:
            result, others = results(case, holding(garbage, inputs, presence), presence, training)
            if not torch.equal(result, clean):
                return f"in {mode} mode, {garbage} in a missing source changes the result. {REMEDY}"
            wrong = [n for n, g in others.items() if not torch.equal(g, gradients[n])]
            if wrong:
                return f"in {mode} mode, {garbage} in a missing source changes the gradient of {wrong}. {REMEDY}"
    return None


def absence_is_each_samples_own(case: Case) -> str | None:
    """The result of a sample depends only on its own missing sources, not on those of other samples.

    In evaluation, and in training without batch norm.
    """
    presence = subsets(list(case.inputs(1)))
    inputs = case.inputs(samples(presence))
    for training in (False, True):
        if training and any(isinstance(m, BATCH_NORMS) for m in case.build().modules()):
            continue
        mixed, _ = results(case, inputs, presence, training)
        for row in range(samples(presence)):
            others = complete(None, inputs)
            for name, there in presence.items():
                others[name][row] = there[row]
            result, _ = results(case, inputs, others, training)
            if not close(result[row], mixed[row]):
                have = having({name: there[row : row + 1] for name, there in presence.items()})
                mode = "training" if training else "evaluation"
                return (
                    f"in {mode} mode, the result of a sample that has {have} depends on the missing sources of others."
                )
    return None


def samples(presence: Presence) -> int:
    """Batch size."""
    return len(next(iter(presence.values())))


def having(presence: Presence) -> list[str]:
    """Present sources of a batch of one."""
    return [name for name, there in presence.items() if there]


def holding(value: float, inputs: Features, presence: Presence) -> Features:
    """The inputs with `value` in all missing sources."""
    return {name: torch.where(per_sample(presence[name], x), x, value) for name, x in inputs.items()}


def results(case: Case, inputs: Features, presence: Presence, training: bool) -> tuple[Tensor, dict[str, Tensor]]:
    """Result of a new part, and the gradient of every parameter and input."""
    module = case.build().train(training)
    inputs = {name: x.clone().requires_grad_() for name, x in inputs.items()}
    reseed()
    result = case.run(module, inputs, presence)
    if result.requires_grad:
        torch.autograd.backward(weigh(result))
    tensors = {**inputs, **dict(module.named_parameters())}
    return result.detach(), {name: x.grad for name, x in tensors.items() if x.grad is not None}
