"""Pictures `(B, C, H, W)` with left and right swapped, moved, or taken by a turned camera."""

import torch
from torch import Tensor


def flip(image: Tensor, flipped: Tensor) -> Tensor:
    """Left and right swapped where `flipped` `(B,)`."""
    return torch.where(flipped[:, None, None, None], image.flip(-1), image)


def move(image: Tensor, columns: Tensor, ground: Tensor) -> Tensor:
    """What is seen, moved to the right by `columns` `(B,)` pixels.

    Args:
        image: `(B, C, H, W)`.
        columns: Whole numbers, long.
        ground: `(C, 1, 1)`, for pixels of which nothing is known.
    """
    width = image.shape[-1]
    source = torch.arange(width, device=image.device) - columns[:, None]
    known = ((source >= 0) & (source < width))[:, None, None]
    return torch.where(known, image.gather(-1, source.clamp(0, width - 1)[:, None, None].expand_as(image)), ground)


def turn(image: Tensor, angle: Tensor, focal_length: float, ground: Tensor) -> Tensor:
    r"""What a pinhole camera sees after a turn about its vertical axis, by which things move to the right.

    With (u, v) from the middle of the picture, \(\theta = \arctan(u / f)\) and the angle a, the pixel (u, v) shows what
    was before at `u' = f tan(theta - a)`, `v' = v cos(theta) / cos(theta - a)`, interpolated bilinearly.

    Args:
        image: `(B, C, H, W)`.
        angle: `(B,)` (rad); where it is 0, the picture stays as it is, bit for bit.
        focal_length: f (px).
        ground: `(C, 1, 1)`, for pixels of which nothing is known.
    """
    height, width = image.shape[-2:]
    u = torch.arange(width, device=image.device, dtype=image.dtype) + 0.5 - width / 2
    v = torch.arange(height, device=image.device, dtype=image.dtype) + 0.5 - height / 2
    now = (u / focal_length).atan()
    before = now - angle[:, None].to(image.dtype)
    ahead = before.cos() > 0
    u_before = torch.where(ahead, focal_length * before.tan(), 4 * width)  # what was beside the camera lies far outside
    v_before = v[:, None] * (now.cos() / before.cos())[:, None]
    grid = torch.stack((2 / width * u_before[:, None].expand_as(v_before), 2 / height * v_before), -1)
    # `grid_sample` pads with zeros.
    turned = torch.nn.functional.grid_sample(image - ground, grid, align_corners=False) + ground
    return torch.where((angle != 0)[:, None, None, None], turned, image)
