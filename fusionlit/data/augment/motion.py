"""Motion of a scene in front of a camera and a range sensor: mirrored, and turned about the vertical axis."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from fusionlit.data.augment import pictures
from fusionlit.data.augment.base import uniform
from fusionlit.data.augment.points import Scan
from fusionlit.data.augment.roles import Roles
from fusionlit.errors import ConfigError
from fusionlit.types import TargetSpec


class Drawn(NamedTuple):
    """The motion of each sample of a batch.

    Args:
        flipped: Whether left and right are swapped first, `(B,)`.
        share: Shift to the right after that, as a fraction of the width, `(B,)`.
    """

    flipped: Tensor
    share: Tensor


class Motion:
    """Flip and shift of all images and points of a sample together.

    Args:
        flip: Probability that left and right are swapped.
        shift: Largest shift, as a fraction of the width.
        focal_length: Focal length of the camera (px).

    Raises:
        ConfigError: If a number is out of range.
    """

    def __init__(self, flip: float, shift: float, focal_length: float | None) -> None:
        if not 0 <= flip <= 1:
            raise ConfigError(f"Expected `flip` to be a probability from 0 to 1, but got {flip}.")
        if not 0 <= shift <= 0.5:
            raise ConfigError(f"Expected `shift` to be a fraction of the width from 0 to 0.5, but got {shift}.")
        if focal_length is not None and not focal_length > 0:
            raise ConfigError(f"Expected `focal_length` to be a number of pixels above 0, but got {focal_length}.")
        self.flip, self.shift, self.focal_length = flip, shift, focal_length
        self._scans: dict[str, Scan] = {}

    def __bool__(self) -> bool:
        return bool(self.flip or self.shift)

    def check(self, roles: Roles, target: TargetSpec | None, rays: Mapping[str, Tensor]) -> None:
        """Check that the data stay consistent under a motion, and find the directions of the rays.

        Raises:
            ConfigError: If the target, a map, or the rays cannot move with the scene.
        """
        if not self:
            return
        if target is not None and target.kind == "regression":
            raise ConfigError(
                "Expected a classification target for `flip` and `shift`, but got regression, whose values would have"
                " to move with the scene. Set `flip` and `shift` to 0; color, range noise and beam drop are possible."
            )
        if roles.others:
            raise ConfigError(
                f"Expected all maps in `images` or `points` for `flip` and `shift`, but {roles.others} would not move."
                " Add them."
            )
        if unknown := [name for name in roles.points if name not in rays]:
            raise ConfigError(
                f"Expected known rays for `flip` and `shift`, but those of {unknown} are unknown. Return them from"
                " `rays` of the data module, or leave out `flip` and `shift`."
            )
        self._scans = {name: Scan(name, rays[name]) for name in roles.points}
        for scan in self._scans.values() if self.flip else ():
            scan.check_mirror()
        if not self.shift or not self._scans:
            return
        steps = {name: round(scan.step, 6) for name, scan in self._scans.items()}
        if max(steps.values()) > 1.001 * min(steps.values()):
            raise ConfigError(f"Expected the same azimuth step in all points for `shift`, but got {steps} rad.")
        if roles.images and self.focal_length is None:
            raise ConfigError(
                f"Expected `focal_length` of the camera (px), to shift the images {roles.images} by the same angle as"
                " the points, but got none. It is 70 in frames of `fusionlit render`."
            )

    def draw(self, count: int, generator: torch.Generator) -> Drawn:
        """Draw a motion for each of `count` samples."""
        flipped = torch.zeros(count, dtype=torch.bool, device=generator.device)
        share = torch.zeros(count, device=generator.device)
        if self.flip:
            flipped = torch.rand(count, generator=generator, device=generator.device) < self.flip
        if self.shift:
            share = uniform(count, self.shift, generator)
        return Drawn(flipped, share)

    def picture(self, image: Tensor, drawn: Drawn, white: float) -> Tensor:
        """Images `(B, C, H, W)` of the moved scene; areas that enter from the side are black, and opaque in RGBA."""
        if self.flip:
            image = pictures.flip(image, drawn.flipped)
        if not self.shift:
            return image
        ground = image.new_zeros(image.shape[1], 1, 1)
        if len(ground) == 4:
            ground[3] = white
        if self._scans and self.focal_length is not None:
            return pictures.turn(image, self._columns(drawn) * self._first.step, self.focal_length, ground)
        return pictures.move(image, (drawn.share * image.shape[-1]).round().long(), ground)

    def points(self, name: str, points: Tensor, drawn: Drawn) -> Tensor:
        """Points `(B, 4, H, W)` of the moved scene."""
        return self._scans[name].moved(points, drawn.flipped, self._columns(drawn))

    @property
    def _first(self) -> Scan:
        return next(iter(self._scans.values()))

    def _columns(self, drawn: Drawn) -> Tensor:
        """Shift in azimuth steps, the same for all points."""
        return (drawn.share * self._first.width).round().long()
