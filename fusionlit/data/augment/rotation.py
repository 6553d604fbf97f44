"""Rotations of triaxial sensors."""

import math

import torch
from torch import Tensor

from fusionlit.data.augment.base import uniform


def random_rotations(count: int, degrees: float, generator: torch.Generator) -> Tensor:
    """Rotations `(count, 3, 3)` about axes uniform on the sphere, by angles uniform in [-degrees, degrees)."""
    axis = torch.randn(count, 3, generator=generator, device=generator.device)
    return rotations(axis, uniform(count, math.radians(degrees), generator))


def rotations(axis: Tensor, angle: Tensor) -> Tensor:
    """Rotation matrices by Rodrigues' formula, `I + sin(a) K + (1 - cos(a)) K^2`, with `K v` the product `axis x v`.

    Args:
        axis: `(B, 3)`, of any length but 0.
        angle: `(B,)` (rad), counter-clockwise seen against the axis.

    Returns:
        `(B, 3, 3)`.
    """
    identity = torch.eye(3, dtype=axis.dtype, device=axis.device)
    unit = torch.nn.functional.normalize(axis, dim=-1)
    cross = torch.linalg.cross(unit[:, None], identity.expand(len(axis), 3, 3)).mT
    # K^2 = u u^T - I, written without a matrix product, whose precision the trainer may lower.
    square = unit[:, :, None] * unit[:, None] - identity
    sine, cosine = angle.sin()[:, None, None], angle.cos()[:, None, None]
    return torch.add(identity + sine * cross, (1 - cosine) * square)


def rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """Every triple of channels of `x` `(B, 3 n, T)` turned by the rotation `(B, 3, 3)` of its sample."""
    triples = x.reshape(len(x), -1, 3, x.shape[-1])
    turned: Tensor = (rotation.to(x.dtype)[:, None, :, :, None] * triples[:, :, None]).sum(3)
    return turned.reshape(x.shape)
