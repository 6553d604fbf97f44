"""Conversion of range images to points; everything that depends only on the angles is computed once."""

from hashlib import blake2b
from typing import Literal

import torch
from torch import Tensor

from fusionlit.geometry import NO_RETURN, image_order, turn, xyza
from fusionlit.types import Shape


class Rays:
    """The rays of a sensor, in the orientation of the image or in the order of the files.

    Calling it gives `xyza` of the distances, with `image_orientation` if requested, bit for bit. The distances are
    reordered instead of the points: one number per ray.

    Args:
        azimuth: Azimuth angles `(H,)` (rad).
        zenith: Zenith angles `(W,)` (rad).
        orientation: `image`, or `raw` for rows azimuth.
    """

    def __init__(self, azimuth: Tensor, zenith: Tensor, orientation: Literal["image", "raw"]) -> None:
        self._order: tuple[Tensor, ...] = image_order(azimuth, zenith) if orientation == "image" else ()
        directions = xyza(torch.ones(1, len(azimuth), len(zenith)), azimuth, zenith)
        self._directions = self._turned(directions).contiguous()
        self.shape: Shape = tuple(self._directions.shape[1:])

    @property
    def directions(self) -> Tensor:
        """Unit directions `(3, *orientation)`."""
        return self._directions[0, :3]

    @property
    def digest(self) -> str:
        """Digest of everything that determines the points computed from distances."""
        order = b"".join(order.cpu().numpy().tobytes() for order in self._order)
        return blake2b(self._directions.cpu().numpy().tobytes() + order, digest_size=16).hexdigest()

    def __call__(self, depth: Tensor) -> Tensor:
        """Points and validity `(B, 4, *orientation)` from distances `(B, H, W)`."""
        if self._directions.device != depth.device:
            self._directions = self._directions.to(depth.device)
            self._order = tuple(order.to(depth.device) for order in self._order)
        distance = self._turned(depth)[:, None]
        points = distance * self._directions
        torch.lt(distance, NO_RETURN, out=points[:, 3:])
        return points

    def _turned(self, rays: Tensor) -> Tensor:
        return turn(rays, *self._order) if self._order else rays
