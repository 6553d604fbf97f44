"""Batches of range images to points, in few passes: what depends on the angles alone is computed once."""

from typing import Literal

import torch
from torch import Tensor

from fusionlit.geometry import NO_RETURN, image_orientation, xyza
from fusionlit.types import Shape


class Rays:
    """A sensor's rays, in the orientation of the image or in the order of the files.

    Gives `xyza` of the distances, turned by `image_orientation` if asked for, bit for bit; the distances are turned,
    one number a ray, and not the points.

    Args:
        azimuth: `(H,)` (rad).
        zenith: `(W,)` (rad).
        orientation: `image`, or `course` for rows azimuth.
    """

    def __init__(self, azimuth: Tensor, zenith: Tensor, orientation: Literal["image", "course"]) -> None:
        rows, columns = len(azimuth), len(zenith)
        directions = xyza(torch.ones(1, rows, columns), azimuth, zenith)[0]
        order = torch.arange(rows * columns).view(rows, columns)
        if orientation == "image":
            directions = image_orientation(directions, azimuth, zenith)
            order = image_orientation(order, azimuth, zenith)
        self.shape: Shape = tuple(directions.shape)
        self._directions = directions.contiguous()
        self._order = order.flatten()

    def __call__(self, depth: Tensor) -> Tensor:
        """Points and validity `(B, 4, *orientation)` from distances `(B, H, W)`."""
        if self._order.device != depth.device:
            self._directions, self._order = self._directions.to(depth.device), self._order.to(depth.device)
        turned = depth.flatten(1).index_select(1, self._order).view(-1, 1, *self.shape[1:])
        points = turned * self._directions
        points[:, 3:] = turned < NO_RETURN
        return points
