import pytest
import torch

from fusionlit.data.augment.roles import find_roles
from fusionlit.errors import ConfigError

FRAMES = {"rgb": (4, 8, 8), "lidar": (4, 6, 6), "label": (5,), "acc": (3, 16)}
RAYS = {"lidar": torch.zeros(3, 6, 6)}


@pytest.mark.parametrize(
    ("shapes", "rays", "images", "points", "expected"),
    [
        (FRAMES, RAYS, None, None, (["rgb"], ["lidar"], [])),
        (FRAMES, RAYS, ["rgb", "lidar"], None, (["rgb", "lidar"], [], [])),
        (FRAMES, RAYS, None, [], (["rgb", "lidar"], [], [])),
        (FRAMES, RAYS, [], None, ([], ["lidar"], ["rgb"])),
        (FRAMES, {}, ["rgb"], ["lidar"], (["rgb"], ["lidar"], [])),
        (FRAMES, {}, ["rgb"], None, (["rgb"], [], ["lidar"])),
        ({"a": (3, 8, 8), "b": (1, 8, 8)}, {}, None, None, (["a", "b"], [], [])),
    ],
)
def test_points_have_rays_and_pictures_are_the_other_maps_unless_named(shapes, rays, images, points, expected):
    assert find_roles(shapes, rays, images, points) == expected


@pytest.mark.parametrize(
    ("shapes", "images", "points", "message"),
    [
        (FRAMES, ["acc"], None, r"`images` of FrameAugmentation .* maps \(channels, H, W\), .* but got \['acc'\]"),
        (FRAMES, None, ["radar"], r"`points` of FrameAugmentation .* \['rgb', 'lidar'\], but got \['radar'\]"),
        ({"a": (3, 8, 8)}, None, ["a"], r"maps \(4, H, W\) of x, y, z and validity, but got {'a': \(3, 8, 8\)}"),
        (FRAMES, ["rgb"], ["rgb"], r"in either `images` or `points`, but \['rgb'\] are in both"),
        (FRAMES, None, None, r"\['rgb', 'lidar'\], .* four channels, are images \(RGBA\) or points \(XYZA\), .* Name"),
        ({"acc": (3, 16)}, None, None, r"but the data has {'acc': \(3, 16\)}\. Use SignalAugmentation"),
    ],
)
def test_what_is_unclear_is_refused(shapes, images, points, message):
    with pytest.raises(ConfigError, match=message):
        find_roles(shapes, {}, images, points)
