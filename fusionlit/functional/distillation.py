"""Distillation losses between a student and its teacher."""

import torch
from torch import Tensor
from torch.nn import functional as F

from fusionlit.functional.sums import per_sample
from fusionlit.types import TargetKind


def feature_distance(student: Tensor, teacher: Tensor, present: Tensor | None = None) -> Tensor:
    """Mean squared difference of features over the present samples; 0 if none is present.

    Shapes: `student` and `teacher` `(B, ...)`, `present` `(B,)` bool, result a scalar in at least float32.

    Source: Du et al., "On uni-modal feature learning in supervised multi-modal learning", 2023 (arXiv 2305.01233).

    >>> feature_distance(torch.tensor([[1.0, 1.0], [9.0, 9.0]]), torch.zeros(2, 2), torch.tensor([True, False]))
    tensor(1.)
    """
    wide = torch.promote_types(student.dtype, torch.float32)
    if present is not None:  # mask before the difference: masking after it would give a gradient of 0 times NaN
        there = per_sample(present, student)
        student, teacher = torch.where(there, student, 0.0), torch.where(there, teacher, 0.0)
    return _mean((student.to(wide) - teacher.to(wide)).square().flatten(1).mean(1), present)


def prediction_divergence(
    student: Tensor, teacher: Tensor, kind: TargetKind, temperature: float = 1.0, present: Tensor | None = None
) -> Tensor:
    """Divergence of the student's prediction from the teacher's, mean over present samples; 0 if none is present.

    `T^2 KL(softmax(t / T) | softmax(s / T))` for `multiclass`; for `binary` and `multilabel`, the sum over the outputs
    of the KL divergence of two outcomes (`sigmoid`). For `regression`, which does not predict a distribution, the mean
    square of `s - t`.

    Shapes: `student` and `teacher` `(B, size)`, `present` `(B,)` bool, result a scalar in at least float32.

    Source: Hinton et al., "Distilling the knowledge in a neural network", 2015 (arXiv 1503.02531).

    >>> prediction_divergence(torch.tensor([[0.0, 0.0]]), torch.tensor([[20.0, 0.0]]), "multiclass")
    tensor(0.6931)
    """
    if kind == "regression":
        return feature_distance(student, teacher, present)
    wide = torch.promote_types(student.dtype, torch.float32)
    if present is not None:
        there = present[:, None]
        student, teacher = torch.where(there, student, 0.0), torch.where(there, teacher, 0.0)
    s, t = student.to(wide) / temperature, teacher.to(wide) / temperature
    if kind == "multiclass":
        each = F.kl_div(s.log_softmax(1), t.log_softmax(1), reduction="none", log_target=True).sum(1)
    else:
        pairs = [(F.logsigmoid(sign * s), F.logsigmoid(sign * t)) for sign in (1, -1)]
        each = torch.stack([F.kl_div(a, b, reduction="none", log_target=True) for a, b in pairs]).sum((0, 2))
    return temperature**2 * _mean(each, present)


def _mean(losses: Tensor, present: Tensor | None) -> Tensor:
    if present is None:
        return losses.mean()
    return (losses * present).sum() / present.sum().clamp(min=1)
