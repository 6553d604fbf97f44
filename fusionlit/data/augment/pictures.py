"""Images `(B, C, H, W)`: flipped, shifted, or as seen by a turned camera."""

import torch
from torch import Tensor


def flip(image: Tensor, flipped: Tensor) -> Tensor:
    """Swap left and right where `flipped` `(B,)` is true."""
    return torch.where(flipped[:, None, None, None], image.flip(-1), image)


def move(image: Tensor, columns: Tensor, ground: Tensor) -> Tensor:
    """Shift images to the right.

    Args:
        image: Images `(B, C, H, W)`.
        columns: Shift of each image in pixels, `(B,)` long.
        ground: Value of pixels that enter from the side, `(C, 1, 1)`.
    """
    width = image.shape[-1]
    source = torch.arange(width, device=image.device) - columns[:, None]
    known = ((source >= 0) & (source < width))[:, None, None]
    return torch.where(known, image.gather(-1, source.clamp(0, width - 1)[:, None, None].expand_as(image)), ground)


def turn(image: Tensor, angle: Tensor, focal_length: float, ground: Tensor) -> Tensor:
    """Images of a pinhole camera turned about its vertical axis, so that the scene moves to the right.

    With (u, v) relative to the image center, `theta = arctan(u / f)` and the angle a, the pixel (u, v) shows what was
    at `u' = f tan(theta - a)`, `v' = v cos(theta) / cos(theta - a)`, interpolated bilinearly.

    Args:
        image: Images `(B, C, H, W)`.
        angle: Angles `(B,)` (rad); an angle of 0 leaves the image unchanged, bit for bit.
        focal_length: Focal length f (px).
        ground: Value of pixels that enter from the side, `(C, 1, 1)`.
    """
    height, width = image.shape[-2:]
    u = torch.arange(width, device=image.device, dtype=image.dtype) + 0.5 - width / 2
    v = torch.arange(height, device=image.device, dtype=image.dtype) + 0.5 - height / 2
    now = (u / focal_length).atan()
    before = now - angle[:, None].to(image.dtype)
    ahead = before.cos() > 0
    # Directions beside or behind the camera map far outside.
    u_before = torch.where(ahead, focal_length * before.tan(), 4 * width)
    v_before = v[:, None] * (now.cos() / before.cos())[:, None]
    grid = torch.stack((2 / width * u_before[:, None].expand_as(v_before), 2 / height * v_before), -1)
    # `grid_sample` pads with zeros.
    turned = torch.nn.functional.grid_sample(image - ground, grid, align_corners=False) + ground
    return torch.where((angle != 0)[:, None, None, None], turned, image)
