"""Range images of a spherical LiDAR: conversion to points, and rotation to the orientation of a camera image.

Right-handed coordinates with the sensor at the origin: x to the right, y forward, z up.
"""

import torch
from torch import Tensor

NO_RETURN = 50.0
"""Distance that the replicator format stores for rays without a return (scene units)."""


def xyza(depth: Tensor, azimuth: Tensor, zenith: Tensor) -> Tensor:
    r"""Convert distances along rays to points and their validity.

    With distance d, azimuth \(\alpha\) (counter-clockwise from y) and zenith \(\zeta\) (downward from the horizon):

        x = d sin(-alpha) cos(-zeta),  y = d cos(-alpha) cos(-zeta),  z = d sin(-zeta),  a = 1 if d < 50 else 0

    Args:
        depth: `(B, H, W)`, rows azimuth, columns zenith (scene units).
        azimuth: `(H,)` (rad).
        zenith: `(W,)` (rad).

    Returns:
        `(B, 4, H, W)`: x, y, z (scene units) and validity, in the order of the input rays.
    """
    across, down = -azimuth[:, None], -zenith[None, :]
    x = depth * (across.sin() * down.cos())
    y = depth * (across.cos() * down.cos())
    z = depth * down.sin()
    return torch.stack((x, y, z, (depth < NO_RETURN).to(depth.dtype)), dim=1)


def image_orientation(rays: Tensor, azimuth: Tensor, zenith: Tensor) -> Tensor:
    """Rotate a range image to the orientation of a camera image: left is left and up is up.

    A row of the range image is one azimuth. Azimuth grows to the left and zenith grows downward, so the columns of the
    result are sorted by decreasing azimuth and its rows by increasing zenith, whatever the input order.

    Args:
        rays: `(..., H, W)`, rows azimuth, columns zenith.
        azimuth: `(H,)` (rad).
        zenith: `(W,)` (rad).

    Returns:
        `(..., W, H)`, rows vertical, columns horizontal.
    """
    return turn(rays, *image_order(azimuth, zenith))


def image_order(azimuth: Tensor, zenith: Tensor) -> tuple[Tensor, Tensor]:
    """Indices `(H,)` that sort azimuths from left to right, and `(W,)` that sort zeniths from top to bottom."""
    return azimuth.argsort(descending=True), zenith.argsort()


def turn(rays: Tensor, left_to_right: Tensor, top_to_bottom: Tensor) -> Tensor:
    """Reorder a range image `(..., H, W)` to an image `(..., W, H)`, given its `image_order`."""
    # Both index_selects move whole rows, which is faster than moving single elements.
    return rays.index_select(-2, left_to_right).mT.contiguous().index_select(-2, top_to_bottom)
