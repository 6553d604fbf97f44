"""Color variation with separate factors for each image of a batch.

The formulas are those of `torchvision.transforms.v2.functional`, which takes one factor per batch. Black, the
background of rendered scenes, stays black. Images are RGB `(B, 3, H, W)` in [0, white], factors are `(B,)`.
"""

import math

import torch
from torch import Tensor

from fusionlit.data.augment.base import uniform
from fusionlit.errors import ConfigError

GRAY = (0.2989, 0.587, 0.114)
"""Weights of red, green and blue, as in torchvision."""


class ColorJitter:
    """Randomly changes brightness, contrast, saturation and hue of images, in this order.

    Args:
        brightness: The factor is uniform in [max(0, 1 - brightness), 1 + brightness].
        contrast: Like `brightness`.
        saturation: Like `brightness`.
        hue: The hue shifts by a fraction of the color circle, uniform in [-hue, hue].
        white: Largest value.

    Raises:
        ConfigError: If a number is out of range.
    """

    def __init__(self, brightness: float, contrast: float, saturation: float, hue: float, white: float) -> None:
        factors = {"brightness": brightness, "contrast": contrast, "saturation": saturation}
        if wrong := {name: value for name, value in factors.items() if not (math.isfinite(value) and value >= 0)}:
            raise ConfigError(f"Expected finite numbers >= 0, but got {wrong}.")
        if not 0 <= hue <= 0.5:
            raise ConfigError(f"Expected `hue` to be a fraction of the color circle from 0 to 0.5, but got {hue}.")
        if not (math.isfinite(white) and white > 0):
            raise ConfigError(f"Expected `white` to be the largest value of images, above 0, but got {white}.")
        self.brightness, self.contrast, self.saturation, self.hue = brightness, contrast, saturation, hue
        self.white = white

    def __bool__(self) -> bool:
        return any((self.brightness, self.contrast, self.saturation, self.hue))

    def __call__(self, image: Tensor, generator: torch.Generator) -> Tensor:
        """Varied images, RGB or RGBA `(B, 3 or 4, H, W)`; alpha is unchanged."""
        rgb, alpha = image[:, :3], image[:, 3:]
        if self.brightness:
            rgb = adjust_brightness(rgb, _factors(rgb, self.brightness, generator), self.white)
        if self.contrast:
            rgb = adjust_contrast(rgb, _factors(rgb, self.contrast, generator), self.white)
        if self.saturation:
            rgb = adjust_saturation(rgb, _factors(rgb, self.saturation, generator), self.white)
        if self.hue:
            rgb = adjust_hue(rgb, uniform(len(rgb), self.hue, generator).to(rgb.dtype))
        return torch.cat((rgb, alpha), 1)


def adjust_brightness(rgb: Tensor, factor: Tensor, white: float = 1.0) -> Tensor:
    """`factor * x`, clamped to [0, white]."""
    return (rgb * _each(factor)).clamp_(0, white)


def adjust_contrast(rgb: Tensor, factor: Tensor, white: float = 1.0) -> Tensor:
    """`m + factor * (x - m)` with m the mean gray of the pixels that are not black; black pixels stay black."""
    lit = rgb.amax(1, keepdim=True) > 0
    mean = (_gray(rgb) * lit).sum((2, 3), keepdim=True) / lit.sum((2, 3), keepdim=True).clamp(min=1)
    return torch.where(lit, _blend(rgb, mean, factor, white), rgb)


def adjust_saturation(rgb: Tensor, factor: Tensor, white: float = 1.0) -> Tensor:
    """`g + factor * (x - g)` with g the gray value of the pixel."""
    return _blend(rgb, _gray(rgb), factor, white)


def adjust_hue(rgb: Tensor, turn: Tensor) -> Tensor:
    """Shift the hue around the color circle; value and saturation (HSV) stay the same.

    With V the largest of r, g, b, C the difference of the largest and the smallest, and hue h in [0, 6):
    `V - C max(0, min(k, 4 - k, 1))` with `k = (n + h) mod 6`, and n = 5, 3, 1 for r, g, b.

    Args:
        rgb: Images `(B, 3, H, W)`.
        turn: Shift `(B,)`; 1 is a full circle.
    """
    value, first = rgb.max(1, keepdim=True)
    chroma = value - rgb.amin(1, keepdim=True)
    r, g, b = torch.chunk(rgb / torch.where(chroma > 0, chroma, 1), 3, 1)
    hue = torch.where(first == 0, g - b, torch.where(first == 1, 2 + b - r, 4 + r - g)) + 6 * _each(turn)
    n = 5 - 2 * torch.arange(3, device=rgb.device, dtype=rgb.dtype)[:, None, None]
    k = (n + hue).remainder_(6)
    return value - torch.minimum(k, 4 - k).clamp_(0, 1).mul_(chroma)


def _factors(like: Tensor, largest: float, generator: torch.Generator) -> Tensor:
    least, most = max(0.0, 1 - largest), 1 + largest
    random = torch.rand(len(like), generator=generator, device=like.device, dtype=like.dtype)
    return least + (most - least) * random


def _blend(rgb: Tensor, other: Tensor, factor: Tensor, white: float) -> Tensor:
    return (_each(factor) * rgb + (1 - _each(factor)) * other).clamp_(0, white)


def _gray(rgb: Tensor) -> Tensor:
    r, g, b = torch.chunk(rgb, 3, 1)
    return torch.add(GRAY[0] * r + GRAY[1] * g, GRAY[2] * b)


def _each(factor: Tensor) -> Tensor:
    return factor[:, None, None, None]
