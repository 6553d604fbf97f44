"""Random variations of pictures, and of the points that a range sensor in the same place sees."""

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
    """Color, flip, shift, range noise and lost beams of pictures `(B, C, H, W)` and points XYZA `(B, 4, H, W)`.

    Camera and range sensor stand in one place and look forward, along y. In this order, for each sample:

    - color of pictures of three or four channels (RGB, RGBA): brightness, contrast, saturation and hue by the formulas
      of torchvision's `ColorJitter`, in this order. Black stays black, and counts for no mean;
    - flip: left and right swapped with this probability, in all maps of a sample together. In points, x changes its
      sign, and each distance goes to the ray on the other side;
    - shift: both sensors turn about the vertical axis by one angle, in whole steps of azimuth. Each distance goes to
      the ray that meets it now, so that points stay on the sensor's rays. Pictures become those of a pinhole camera
      turned by the angle, interpolated. Without points, pictures move by whole pixels;
    - range noise: `d + range_noise * n` along the ray, n standard normal, where there is a return;
    - beam drop: all returns of one zenith are lost with this probability, and read as rays without return do.

    What comes in from the side has no return, and is black in pictures. What is 0 changes nothing, bit for bit, and
    draws no random numbers. Flip and shift are refused for a regression target, whose coordinates would have to move.
    Use them where the side does not tell the class, and `hue` where the color does not.

    Args:
        flip: Probability that left and right are swapped.
        shift: Largest shift, as a share of the width (of the points' map, if there are points); at most 0.5.
        brightness: Largest change of the factor around 1.
        contrast: Largest change of the factor around 1.
        saturation: Largest change of the factor around 1.
        hue: Largest change, as a share of the color circle; at most 0.5.
        range_noise: Standard deviation of distances (unit of the points).
        beam_drop: Probability that a beam is lost; below 1.
        focal_length: Of the camera (px), to shift pictures beside points; 70 in frames of `fusionlit render`.
        images: Pictures. Default: all maps `(channels, H, W)` that are not points.
        points: Points. Default: maps whose rays the data module knows.
        white: Largest value of pictures; 255 where they come as whole numbers.

    Raises:
        ConfigError: If a number is out of its range.
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
        """Refuse data that cannot be varied, and learn what is a picture and where the rays of points go.

        Raises:
            ConfigError: If names or shapes do not fit, a variation has nothing to act on, or a flip or shift would
                leave target, maps or rays in contradiction.
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
                "Expected pictures of three or four channels for `brightness`, `contrast`, `saturation` and `hue`, but"
                f" got { ({name: specs[name].shape for name in roles.images}) }. Leave these out."
            )
        if (self.range_noise or self.beam_drop) and not roles.points:
            raise ConfigError(
                "Expected points for `range_noise` and `beam_drop`, but there are none. Name maps (4, H, W) of x, y, z"
                " and validity in `points`, or leave these out."
            )
        self._motion.check(roles, target, rays)
        # Where no rays are known, rows are beams, as in a picture.
        self._beam_axis = {name: 1 if name in rays and azimuth_axis(rays[name]) == -2 else 0 for name in roles.points}
        self._roles, self._brightness_known = roles, False

    def __call__(self, inputs: dict[str, Tensor], seed: Sequence[int]) -> dict[str, Tensor]:
        """Varied inputs; the given ones stay as they are.

        Args:
            inputs: Floats `(B, *shape)` by modality, all on one device.
            seed: Numbers >= 0. The random numbers depend on them and on the kind of device, and on nothing else.

        Raises:
            ConfigError: If `check` has not been called.
            DataError: If, at the first call, pictures whose color is varied are brighter than `white`.
        """
        if self._roles is None:
            raise ConfigError("Expected `check` of FrameAugmentation to be called first, with the data's shapes.")
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
            # NaN, in samples that lack the modality, is not above.
            if bool((inputs[name] > white).any()):
                raise DataError(
                    f"Expected pictures {name!r} in [0, {white:g}], but some values are above. Set `white` of"
                    " FrameAugmentation to the largest value, or scale them in `convert`."
                )
