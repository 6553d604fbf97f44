"""Contribution of each source to a weighted sum."""

import torch
from torch import Tensor

CENTRAL = "central"
"""Name of the source that is the central network's previous layer."""


def contributions(mean_square: dict[str, Tensor]) -> dict[str, Tensor]:
    """Share of each weighted source in the sum of one layer.

    `c[k] = rms_k / sum_j rms_j`, where `rms_k` is the square root of `mean_square[k]`, a scalar. The shares sum to one;
    all are zero if no source has energy.

    >>> contributions({"rgb": torch.tensor(9.0), "lidar": torch.tensor(1.0)})
    {'rgb': tensor(0.7500), 'lidar': tensor(0.2500)}
    """
    rms = {source: value.sqrt() for source, value in mean_square.items()}
    total = torch.stack(list(rms.values())).sum()
    return {source: value / total.clamp(min=torch.finfo(total.dtype).tiny) for source, value in rms.items()}


def attributions(contributions: dict[str, dict[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
    """Attribution of each modality at each layer: the share of `central` is split among the modalities that it fused.

    `T_i[k] = c_i[k] + c_i[central] T_{i-1}[k]` for the layers `i` in order of depth, `contributions[i][k]` a scalar. A
    layer without `central` starts afresh. If the shares of every layer sum to one, so do the attributions; `central` of
    the first layer, which has no predecessor, keeps its own share.

    >>> first = {"rgb": torch.tensor(0.75), "lidar": torch.tensor(0.25)}
    >>> second = {"central": torch.tensor(0.5), "rgb": torch.tensor(0.0), "lidar": torch.tensor(0.5)}
    >>> attributions({"stage1": first, "stage2": second})["stage2"]
    {'rgb': tensor(0.3750), 'lidar': tensor(0.6250)}
    """
    attributed: dict[str, dict[str, Tensor]] = {}
    previous: dict[str, Tensor] | None = None
    for layer, shares in contributions.items():
        here = dict(shares)
        if CENTRAL in here and previous is not None:
            central = here.pop(CENTRAL)
            for source, share in previous.items():
                here[source] = here.get(source, torch.zeros_like(share)) + central * share
        attributed[layer] = previous = here
    return attributed
