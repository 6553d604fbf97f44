"""Points of a scanning range sensor, XYZA `(B, 4, H, W)`: noise, dropped beams, and turned or mirrored scenes.

Coordinates as in `fusionlit.geometry`: x to the right, y forward, z up, the sensor at the origin.
"""

import torch
from torch import Tensor

from fusionlit.errors import ConfigError
from fusionlit.geometry import NO_RETURN

TOLERANCE = 0.05
"""Largest deviation of a ray from an even grid, as a fraction of the azimuth step."""
LEAST_MIRRORED = 0.9
"""Fraction of the columns that must have a mirror image in the grid."""


def azimuth_axis(directions: Tensor) -> int:
    """The dimension of a map `(3, H, W)` of directions along which azimuth changes most, -1 or -2."""
    x, y, _ = directions
    azimuth = torch.atan2(-x, y)
    down, right = azimuth.diff(dim=0).abs().sum(), azimuth.diff(dim=1).abs().sum()
    return -1 if right >= down else -2


class Scan:
    """The rays of one sensor, whose columns have evenly spaced azimuths.

    Args:
        name: Name of the modality, for messages.
        directions: Unit directions `(3, H, W)` of its pixels.

    Raises:
        ConfigError: If azimuth does not vary along only one dimension of the map, or its steps are uneven.
    """

    def __init__(self, name: str, directions: Tensor) -> None:
        directions = directions.detach().cpu()
        self.axis = azimuth_axis(directions)
        x, y, _ = directions.double()
        azimuth = torch.atan2(-x, y)
        lines = azimuth if self.axis == -1 else azimuth.T
        across = lines[0]
        self._order = across.argsort(descending=True)  # column of each position from the left
        self._position = self._order.argsort()
        steps = -across[self._order].diff()
        self.step = float(steps.mean()) if len(steps) else 0.0
        """Azimuth step (rad)."""
        even = self.step > 0 and (steps - self.step).abs().max() <= TOLERANCE * self.step
        if not even or (lines - across).abs().max() > TOLERANCE * self.step:
            raise ConfigError(
                f"Expected the rays of {name!r} to form a grid with even azimuth steps for `flip` and `shift`, but they"
                " do not: moved points would leave their rays. Leave out `flip` and `shift`."
            )
        self.width = len(across)
        # The azimuths at positions p and mirror - p are opposite.
        self._mirror = 2 * float(across[self._order[0]]) / self.step
        self._directions = directions
        self._name = name

    def check_mirror(self) -> None:
        """Raise ConfigError unless the grid is symmetric.

        Raises:
            ConfigError: If the mirror images of the azimuths are not rays of the sensor, except for a few at one side.
        """
        kept = self.width - abs(self._mirror - (self.width - 1))
        if abs(self._mirror - round(self._mirror)) > TOLERANCE or kept < LEAST_MIRRORED * self.width:
            raise ConfigError(
                f"Expected the azimuths of {self._name!r} to be symmetric for `flip`, but their mirror images are not"
                " rays of the sensor. Leave out `flip`."
            )

    def moved(self, points: Tensor, flipped: Tensor, columns: Tensor) -> Tensor:
        """Points of the moved scene: each distance moves to the ray that now meets its point.

        Rays in directions that the sensor did not cover before have no return.

        Args:
            points: Points `(B, 4, H, W)`.
            flipped: Whether left and right are swapped first, `(B,)`.
            columns: Azimuth steps to the right after that, `(B,)` long.
        """
        self._to(points)
        position = self._position - columns[:, None]
        position = torch.where(flipped[:, None], round(self._mirror) - position, position)
        seen = (position >= 0) & (position < self.width)
        column = self._order[position.clamp(0, self.width - 1)]
        ranges = torch.cat((distances(points), points[:, 3:]), 1)
        shape = (len(points), 1, 1, -1) if self.axis == -1 else (len(points), 1, -1, 1)
        ranges = ranges.gather(self.axis, column.view(shape).expand_as(ranges))
        distance, valid = ranges[:, :1], ranges[:, 1:]
        distance = torch.where(seen.view(shape), distance, NO_RETURN)
        moved = torch.cat((distance * self._directions, valid * seen.view(shape)), 1)
        return torch.where((flipped | (columns != 0))[:, None, None, None], moved, points)

    def _to(self, like: Tensor) -> None:
        if self._directions.device != like.device:
            self._directions = self._directions.to(like.device)
            self._order, self._position = self._order.to(like.device), self._position.to(like.device)


def distances(points: Tensor) -> Tensor:
    """Distances from the sensor, `(B, 1, H, W)`; several times as fast as `vector_norm` over channels."""
    x, y, z = points[:, 0], points[:, 1], points[:, 2]
    return (x * x + y * y + z * z).sqrt()[:, None]


def add_range_noise(points: Tensor, noise: Tensor) -> Tensor:
    """Move points `(B, 4, H, W)` along their rays by noise `(B, 1, H, W)`, where there is a return.

    `xyz * max(d + noise, 0) / d`, with distance d.
    """
    xyz, valid = points[:, :3], points[:, 3:]
    distance = distances(points)
    factor = (distance + noise).clamp(min=0) / distance
    return torch.cat((torch.where((valid > 0) & (distance > 0), xyz * factor, xyz), valid), 1)


def drop_beams(points: Tensor, dropped: Tensor) -> Tensor:
    """Replace the points of some beams by rays without return: at distance `NO_RETURN`, and not valid.

    Args:
        points: Points `(B, 4, H, W)`.
        dropped: Mask that broadcasts to `(B, 1, H, W)`.
    """
    distance = distances(points)
    lost = torch.where(distance > 0, points[:, :3] * (NO_RETURN / distance), 0.0)
    return torch.where(dropped, torch.cat((lost, torch.zeros_like(distance)), 1), points)
