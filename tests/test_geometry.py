import numpy as np
import pytest
import torch

from fusionlit.geometry import image_orientation, xyza
from fusionlit.synthetic.raycast import hit_cube, hit_sphere
from fusionlit.synthetic.scene import draw_objects
from fusionlit.synthetic.sensors import ANGLES, camera_image, camera_rays, lidar_depth, lidar_rays


def test_xyza_is_the_formula_of_the_course_ray_by_ray():
    rng = np.random.default_rng(0)
    azimuth, zenith = rng.uniform(-0.3, 0.3, 5), rng.uniform(-0.3, 0.3, 7)
    depth = rng.uniform(15, 60, (2, 5, 7))
    found = xyza(*(torch.from_numpy(a) for a in (depth, azimuth, zenith))).numpy()
    for b, i, j in np.ndindex(depth.shape):
        d, az, ze = depth[b, i, j], azimuth[i], zenith[j]
        expected = [d * np.sin(-az) * np.cos(-ze), d * np.cos(-az) * np.cos(-ze), d * np.sin(-ze), float(d < 50)]
        np.testing.assert_allclose(found[b, :, i, j], expected, rtol=1e-12)


def test_a_ray_at_the_limit_is_no_return():
    angle = torch.zeros(1)
    assert xyza(torch.tensor([[[50.0]]]), angle, angle)[0, 3].item() == 0
    assert xyza(torch.tensor([[[49.999]]]), angle, angle)[0, 3].item() == 1


def _center(mask):
    """Mean column and row of each frame's mask, in [0, 1]."""
    rows, columns = mask.shape[-2:]
    weight = mask.sum((-2, -1))
    across = (mask.sum(-2) * torch.linspace(0, 1, columns)).sum(-1) / weight
    return across, (mask.sum(-1) * torch.linspace(0, 1, rows)).sum(-1) / weight


@pytest.mark.parametrize("hit", [hit_cube, hit_sphere])
@pytest.mark.parametrize("reverse", [False, True])
def test_in_image_orientation_objects_fall_on_the_side_where_the_picture_has_them(hit, reverse):
    objects = draw_objects(0, range(200))
    picture = torch.from_numpy(camera_image(camera_rays(), objects, hit))[..., :3].amax(-1).float() > 0
    depth, angles = torch.from_numpy(lidar_depth(lidar_rays(), objects, hit)), torch.from_numpy(ANGLES)
    if reverse:  # a sensor that counts its angles the other way round
        depth, angles = depth.flip(-2, -1), angles.flip(0)
    turned = image_orientation(depth, angles, angles) < 50
    for side, (seen, measured) in enumerate(zip(_center(picture.float()), _center(turned.float()), strict=True)):
        assert np.corrcoef(seen, measured)[0, 1] > 0.9, ("across", "down")[side]


def test_image_orientation_puts_left_first_and_up_first_in_the_points():
    azimuth, zenith = torch.linspace(-0.2, 0.2, 4), torch.linspace(-0.1, 0.1, 3)
    points = image_orientation(xyza(torch.full((1, 4, 3), 20.0), azimuth, zenith), azimuth, zenith)
    assert points.shape == (1, 4, 3, 4)
    assert (points[0, 0].diff(dim=1) > 0).all()  # x grows from column to column
    assert (points[0, 2].diff(dim=0) < 0).all()  # z falls from row to row
