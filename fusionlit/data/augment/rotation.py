"""Rotations of triaxial sensors."""

import math

import torch
from torch import Tensor

from fusionlit.data.augment.base import uniform


def random_rotations(count: int, degrees: float, generator: torch.Generator) -> Tensor:
    """Random rotations `(count, 3, 3)`: axes uniform on the sphere, angles uniform in [-degrees, degrees)."""
    axis = torch.randn(count, 3, generator=generator, device=generator.device)
    return rotations(axis, uniform(count, math.radians(degrees), generator))


def rotations(axis: Tensor, angle: Tensor) -> Tensor:
    """Rotation matrices by Rodrigues' formula, `I + sin(a) K + (1 - cos(a)) K^2`, with `K v` the product `axis x v`.

    Args:
        axis: Axes `(B, 3)`, of any length above 0.
        angle: Angles `(B,)` (rad), counter-clockwise with the axis pointing towards the viewer.

    Returns:
        Matrices `(B, 3, 3)`.
    """
    identity = torch.eye(3, dtype=axis.dtype, device=axis.device)
    unit = torch.nn.functional.normalize(axis, dim=-1)
    cross = torch.linalg.cross(unit[:, None], identity.expand(len(axis), 3, 3)).mT
    # K^2 = u u^T - I, without a matrix product, since the trainer may lower its precision.
    square = unit[:, :, None] * unit[:, None] - identity
    sine, cosine = angle.sin()[:, None, None], angle.cos()[:, None, None]
    return torch.add(identity + sine * cross, (1 - cosine) * square)


def rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """Rotate every triple of channels of `x` `(B, 3 n, T)` by the rotation `(B, 3, 3)` of its sample."""
    triples = x.reshape(len(x), -1, 3, x.shape[-1])
    turned: Tensor = (rotation.to(x.dtype)[:, None, :, :, None] * triples[:, :, None]).sum(3)
    return turned.reshape(x.shape)
