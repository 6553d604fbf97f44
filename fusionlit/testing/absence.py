"""Laws of what may be absent: they hold for operators and strategies alike."""

from itertools import product

import torch
from torch import Tensor, nn

from fusionlit.testing.laws import BATCH, Case, close, weigh

GARBAGE = (torch.nan, 1e30)


def presence_of_all_is_no_presence(case: Case) -> str | None:
    """To be told that all sources are there is the same as to be told nothing."""
    module, inputs = case.build(), case.inputs()
    if close(case.run(module, inputs, everyone(inputs)), case.run(module, inputs)):
        return None
    return "it gives another result."


def absent_content_reaches_nothing(case: Case) -> str | None:
    """What an absent source holds, NaN included, reaches neither the result nor a gradient."""
    inputs = case.inputs()
    for name, there in lacking(inputs):
        clean, gradients = results(case, inputs, there)
        for garbage in GARBAGE:
            holding = {**inputs, name: inputs[name].clone()}
            holding[name][~there[name]] = garbage
            result, others = results(case, holding, there)
            if not torch.equal(result, clean):
                return f"{garbage} in the absent {name!r} changes the result. {REMEDY}"
            wrong = [n for n, g in others.items() if not torch.equal(g, gradients[n])]
            if wrong:
                return f"{garbage} in the absent {name!r} changes the gradient of {wrong}. {REMEDY}"
    return None


def absence_is_each_samples_own(case: Case) -> str | None:
    """What one sample lacks changes nothing for the others: in evaluation, and in training without batch norm."""
    inputs = case.inputs()
    for training in (False, True):
        module = case.build().train(training)
        if training and any(isinstance(m, BATCH_NORMS) for m in module.modules()):
            continue
        torch.manual_seed(0)
        whole = case.run(module, inputs, everyone(inputs))
        for name, there in lacking(inputs):
            torch.manual_seed(0)
            result = case.run(module, inputs, there)
            if not close(result[there[name]], whole[there[name]]):
                mode = "training" if training else "evaluation"
                return f"in {mode} mode, samples that have {name!r} change when others lack it."
    return None


def every_subset_is_answered(case: Case) -> str | None:
    """Every non-empty subset of the sources gives a finite result and finite gradients."""
    inputs = case.inputs(1)
    for there in product([True, False], repeat=len(inputs)):
        if any(there):
            presence = {name: torch.tensor([x]) for name, x in zip(inputs, there, strict=True)}
            result, gradients = results(case, inputs, presence)
            wrong = [name for name, g in gradients.items() if not g.isfinite().all()]
            have = [name for name, x in zip(inputs, there, strict=True) if x]
            if not result.isfinite().all() or wrong:
                what = f"gradients of {wrong} are" if wrong else "result is"
                return f"with {have} alone the {what} not finite."
    return None


BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
REMEDY = (
    "Take an operator's sources from `self.present(features, presence, absent=...)`, a strategy's features from"
    " `StandIns`."
)


def everyone(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """All are there."""
    return {name: torch.ones(len(x), dtype=torch.bool) for name, x in inputs.items()}


def lacking(inputs: dict[str, Tensor]) -> list[tuple[str, dict[str, Tensor]]]:
    """For each source a presence in which every second sample lacks it; a source that is alone is always there."""
    there = torch.arange(BATCH) % 2 == 0
    return [(name, {**everyone(inputs), name: there}) for name in inputs if len(inputs) > 1]


def results(case: Case, inputs: dict[str, Tensor], presence: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """The result, and the gradient of every parameter and input."""
    module, inputs = case.build(), {name: x.clone().requires_grad_() for name, x in inputs.items()}
    result = case.run(module, inputs, presence)
    if result.requires_grad:
        torch.autograd.backward(weigh(result))
    tensors = {**inputs, **dict(module.named_parameters())}
    return result.detach(), {name: x.grad for name, x in tensors.items() if x.grad is not None}
