"""From the range image of a spherical LiDAR to points, and to the orientation of a camera's image.

Right-handed coordinates with the sensor at the origin: x to the right, y forward, z up.
"""

import torch
from torch import Tensor

NO_RETURN = 50.0
"""Distance that the replicator format writes where a ray meets nothing (scene units)."""


def xyza(depth: Tensor, azimuth: Tensor, zenith: Tensor) -> Tensor:
    r"""Points and their validity from distances along the rays.

    With distance d, azimuth \(\alpha\) (counter-clockwise from y) and zenith \(\zeta\) (downward from the horizon):

        x = d sin(-alpha) cos(-zeta),  y = d cos(-alpha) cos(-zeta),  z = d sin(-zeta),  a = 1 if d < 50 else 0

    Args:
        depth: `(B, H, W)`, rows azimuth, columns zenith (scene units).
        azimuth: `(H,)` (rad).
        zenith: `(W,)` (rad).

    Returns:
        `(B, 4, H, W)`, in the order of the rays that came in.
    """
    across, down = -azimuth[:, None], -zenith[None, :]
    x = depth * (across.sin() * down.cos())
    y = depth * (across.cos() * down.cos())
    z = depth * down.sin()
    return torch.stack((x, y, z, (depth < NO_RETURN).to(depth.dtype)), dim=1)


def image_orientation(rays: Tensor, azimuth: Tensor, zenith: Tensor) -> Tensor:
    """Turn a range image so that it looks as the camera's picture does: left is left and up is up.

    A row of the range image is one azimuth. Counter-clockwise angles grow to the left and zenith grows downward, so
    the columns of the result are sorted by falling azimuth and its rows by rising zenith, whatever order came in.

    Args:
        rays: `(..., H, W)`, rows azimuth, columns zenith.
        azimuth: `(H,)` (rad).
        zenith: `(W,)` (rad).

    Returns:
        `(..., W, H)`, rows vertical, columns horizontal.
    """
    return turn(rays, *image_order(azimuth, zenith))


def image_order(azimuth: Tensor, zenith: Tensor) -> tuple[Tensor, Tensor]:
    """The order `(H,)` of azimuths from left to right, and `(W,)` of zeniths from top to bottom."""
    return azimuth.argsort(descending=True), zenith.argsort()


def turn(rays: Tensor, left_to_right: Tensor, top_to_bottom: Tensor) -> Tensor:
    """A range image `(..., H, W)` as an image `(..., W, H)`, by its `image_order`."""
    # Whole rows are moved, not single numbers: those of the range image, then those of the image.
    return rays.index_select(-2, left_to_right).mT.contiguous().index_select(-2, top_to_bottom)
