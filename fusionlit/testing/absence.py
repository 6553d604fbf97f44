"""Laws of what may be absent: they hold for operators and strategies alike."""

import torch
from torch import Tensor, nn

from fusionlit.functional import per_sample
from fusionlit.fusion import Features, Presence
from fusionlit.models.presence import complete
from fusionlit.testing.cases import Case, close, reseed, subsets, weigh

GARBAGE = (torch.nan, torch.inf, 1e30)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
REMEDY = (
    "Take an operator's sources from `self.present(features, presence, absent=...)`, a strategy's features from"
    " `StandIns`."
)


def presence_of_all_is_no_presence(case: Case) -> str | None:
    """To be told that all sources are there is the same as to be told nothing."""
    module, inputs = case.build(), case.inputs()
    if close(case.run(module, inputs, complete(None, inputs)), case.run(module, inputs)):
        return None
    return "it gives another result."


def every_subset_is_answered(case: Case) -> str | None:
    """Every non-empty subset of the sources gives a finite result and finite gradients."""
    presence = subsets(list(case.inputs(1)))
    for row in range(samples(presence)):
        there = {name: x[row : row + 1] for name, x in presence.items()}
        result, gradients = results(case, case.inputs(1), there, training=False)
        wrong = [name for name, g in gradients.items() if not g.isfinite().all()]
        if not result.isfinite().all() or wrong:
            what = f"gradients of {wrong} are" if wrong else "result is"
            return f"with {having(there)} alone the {what} not finite."
    return None


def absent_content_reaches_nothing(case: Case) -> str | None:
    """What an absent source holds, NaN included, reaches neither the result nor a gradient, in training neither."""
    presence = subsets(list(case.inputs(1)))
    inputs = case.inputs(samples(presence))
    for training in (False, True):
        mode = "training" if training else "evaluation"
        clean, gradients = results(case, holding(0.0, inputs, presence), presence, training)
        for garbage in GARBAGE:
            result, others = results(case, holding(garbage, inputs, presence), presence, training)
            if not torch.equal(result, clean):
                return f"in {mode} mode {garbage} in what is absent changes the result. {REMEDY}"
            wrong = [n for n, g in others.items() if not torch.equal(g, gradients[n])]
            if wrong:
                return f"in {mode} mode {garbage} in what is absent changes the gradient of {wrong}. {REMEDY}"
    return None


def absence_is_each_samples_own(case: Case) -> str | None:
    """The result of a sample depends on its own absent sources alone, not on what other samples lack.

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
                return f"in {mode} mode a sample that has {have} changes when the others lack some as well."
    return None


def samples(presence: Presence) -> int:
    """Size of the batch."""
    return len(next(iter(presence.values())))


def having(presence: Presence) -> list[str]:
    """What is there in a batch of one."""
    return [name for name, there in presence.items() if there]


def holding(value: float, inputs: Features, presence: Presence) -> Features:
    """The inputs with `value` in all that is absent."""
    return {name: torch.where(per_sample(presence[name], x), x, value) for name, x in inputs.items()}


def results(case: Case, inputs: Features, presence: Presence, training: bool) -> tuple[Tensor, dict[str, Tensor]]:
    """The result of a new part, and the gradient of every parameter and input."""
    module = case.build().train(training)
    inputs = {name: x.clone().requires_grad_() for name, x in inputs.items()}
    reseed()
    result = case.run(module, inputs, presence)
    if result.requires_grad:
        torch.autograd.backward(weigh(result))
    tensors = {**inputs, **dict(module.named_parameters())}
    return result.detach(), {name: x.grad for name, x in tensors.items() if x.grad is not None}
