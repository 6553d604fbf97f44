"""Scores of the unimodal heads, which show how well each modality is learned."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from fusionlit.functional import truth_scores
from fusionlit.types import Batch, FusionOutput, TargetKind


def score_means(output: FusionOutput, batch: Batch, kind: TargetKind, names: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Mean `truth_scores` of each unimodal head over the samples with the modality, and their number; both `(K,)`."""
    presence: Mapping[str, Tensor] = batch.get("presence") or {}
    means, counts = [], []
    for name in names:
        scores = truth_scores(output.unimodal[name].detach(), batch["target"], kind)
        there = presence[name] if name in presence else torch.ones_like(scores, dtype=torch.bool)
        counts.append(there.sum().to(scores.dtype))
        means.append(torch.where(there, scores, 0.0).sum() / counts[-1].clamp(min=1))
    return torch.stack(means), torch.stack(counts)
