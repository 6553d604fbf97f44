"""Augmentation of images, and of the points that a range sensor at the same place measures."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from fusionlit.data.augment.base import Augmentation, normal, seeded
from fusionlit.data.augment.color import ColorJitter
from fusionlit.data.augment.motion import Motion
from fusionlit.data.augment.points import add_range_noise, azimuth_axis, drop_beams
from fusionlit.data.augment.roles import Roles, find_roles
from fusionlit.errors import ConfigError, DataError
from fusionlit.types import Modalities, TargetSpec, as_specs


class FrameAugmentation(Augmentation):
    """Color, flip, shift, range noise and beam drop for images `(B, C, H, W)` and points XYZA `(B, 4, H, W)`.

    Camera and range sensor are at the same place and look forward, along y. In this order, for each sample:

    - color, of images with three or four channels (RGB, RGBA): brightness, contrast, saturation and hue, in this order,
      by the formulas of torchvision's `ColorJitter`. Black stays black, and is left out of means;
    - flip: swaps left and right with this probability, in all maps of a sample together. In points, x changes its sign,
      and each distance moves to the ray on the other side;
    - shift: turns both sensors about the vertical axis by the same angle, in whole azimuth steps. Each distance moves
      to the ray that now meets its point, so that points stay on the sensor's rays. Images become those of a pinhole
      camera turned by this angle, interpolated. Without points, images move by whole pixels;
    - range noise: `d + range_noise * n` along the ray, with n standard normal, where there is a return;
    - beam drop: with this probability, all returns of one zenith angle are replaced by rays without return.

    Areas that enter from the side have no return, and are black in images. A setting of 0 changes nothing, bit for bit,
    and draws no random numbers. Flip and shift raise an error for a regression target, whose coordinates would have to
    move. Use them only if the class does not depend on the side, and `hue` only if it does not depend on the color.

    Args:
        flip: Probability that left and right are swapped.
        shift: Largest shift, as a fraction of the width (of the points, if there are any); at most 0.5.
        brightness: Largest deviation of the factor from 1.
        contrast: Largest deviation of the factor from 1.
        saturation: Largest deviation of the factor from 1.
        hue: Largest shift, as a fraction of the color circle; at most 0.5.
        range_noise: Standard deviation of the noise on distances (unit of the points).
        beam_drop: Probability that a beam is dropped; below 1.
        focal_length: Focal length of the camera (px), needed to shift images together with points; 70 in frames of
            `fusionlit render`.
        images: Names of the image modalities; default: all maps `(channels, H, W)` that are not points.
        points: Names of the point modalities; default: modalities of kind `points`, and maps with known rays.
        white: Largest value of images; 255 if they are whole numbers.

    Raises:
        ConfigError: If a number is out of range.
    """

    def __init__(
        self,
        flip: float = 0.0,
        shift: float = 0.0,
        brightness: float = 0.0,
        contrast: float = 0.0,
        saturation: float = 0.0,
        hue: float = 0.0,
        range_noise: float = 0.0,
        beam_drop: float = 0.0,
        focal_length: float | None = None,
        images: list[str] | None = None,
        points: list[str] | None = None,
        white: float = 1.0,
    ) -> None:
        if not (math.isfinite(range_noise) and range_noise >= 0):
            raise ConfigError(f"Expected `range_noise` to be finite and >= 0, but got {range_noise}.")
        if not 0 <= beam_drop < 1:
            raise ConfigError(f"Expected `beam_drop` to be a probability below 1, but got {beam_drop}.")
        self.range_noise, self.beam_drop = range_noise, beam_drop
        self.images, self.points = images, points
        self._color = ColorJitter(brightness, contrast, saturation, hue, white)
        self._motion = Motion(flip, shift, focal_length)
        self._roles: Roles | None = None
        self._colored: set[str] = set()
        self._beam_axis: dict[str, int] = {}
        self._brightness_known = False

    def check(self, modalities: Modalities, target: TargetSpec | None, rays: Mapping[str, Tensor]) -> None:
        """Check that the data can be augmented, and find the images, the points and the directions of their rays.

        Raises:
            ConfigError: If names or shapes do not fit, there is nothing that a setting could change, or a flip or shift
                would make target, maps or rays inconsistent.
        """
        specs = as_specs(modalities)
        roles = find_roles(specs, rays, self.images, self.points)
        self._colored = {
            name
            for name in roles.images
            if self._color and specs[name].kind == "image" and specs[name].shape[0] in (3, 4)
        }
        if self._color and not self._colored:
            raise ConfigError(
                "Expected images with three or four channels for `brightness`, `contrast`, `saturation` and `hue`, but"
                f" got { ({name: specs[name].shape for name in roles.images}) }. Leave these out."
            )
        if (self.range_noise or self.beam_drop) and not roles.points:
            raise ConfigError(
                "Expected points for `range_noise` and `beam_drop`, but there are none. Name maps (4, H, W) of x, y, z"
                " and validity in `points`, or leave these out."
            )
        self._motion.check(roles, target, rays)
        # Without known rays, rows are assumed to be beams.
        self._beam_axis = {name: 1 if name in rays and azimuth_axis(rays[name]) == -2 else 0 for name in roles.points}
        self._roles, self._brightness_known = roles, False

    def __call__(self, inputs: dict[str, Tensor], seed: Sequence[int]) -> dict[str, Tensor]:
        """Augmented inputs; the given tensors are not changed.

        Args:
            inputs: Floats `(B, *shape)` by modality, all on one device.
            seed: Numbers >= 0; the random numbers depend only on them and on the type of device.

        Raises:
            ConfigError: If `check` has not been called.
            DataError: If images whose color is varied exceed `white`, in the first batch.
        """
        if self._roles is None:
            raise ConfigError(
                "Expected a call of FrameAugmentation's `check`, with the data's shapes, before the first batch."
            )
        self._check_brightness(inputs)
        first = next(iter(inputs.values()))
        generator = seeded(seed, first.device)
        drawn = self._motion.draw(len(first), generator) if self._motion else None
        varied = dict(inputs)
        for name in self._roles.images:
            image = self._color(inputs[name], generator) if name in self._colored else inputs[name]
            varied[name] = self._motion.picture(image, drawn, self._color.white) if drawn else image
        for name in self._roles.points:
            points = self._motion.points(name, inputs[name], drawn) if drawn else inputs[name]
            varied[name] = self._disturb(points, self._beam_axis[name], generator)
        return varied

    def _disturb(self, points: Tensor, beam_axis: int, generator: torch.Generator) -> Tensor:
        batch, _, *size = points.shape
        if self.range_noise:
            noise = normal((batch, 1, *size), points, generator)
            points = add_range_noise(points, self.range_noise * noise)
        if self.beam_drop:
            beams = [size[0], 1] if beam_axis == 0 else [1, size[1]]
            random = torch.rand((batch, 1, *beams), generator=generator, device=points.device)
            points = drop_beams(points, random < self.beam_drop)
        return points

    def _check_brightness(self, inputs: Mapping[str, Tensor]) -> None:
        if self._brightness_known:
            return  # once, since it waits for the device
        self._brightness_known = True
        white = self._color.white
        for name in self._colored:
            # NaN, as in samples without the modality, compares as false.
            if bool((inputs[name] > white).any()):
                raise DataError(
                    f"Expected images {name!r} in [0, {white:g}], but some values are larger. Set `white` of"
                    " FrameAugmentation to the largest value, or scale the images in `convert`."
                )
