import pytest
import torch

from fusionlit.data.replicator.points import Rays
from fusionlit.geometry import image_orientation, xyza


@pytest.mark.parametrize("orientation", ["image", "raw"])
def test_points_are_those_of_the_formulas_bit_for_bit(orientation):
    generator = torch.Generator().manual_seed(0)
    azimuth, zenith = torch.rand(6, generator=generator) - 0.5, torch.rand(5, generator=generator) - 0.5
    depth = 60 * torch.rand(3, 6, 5, generator=generator)
    expected = xyza(depth, azimuth, zenith)
    if orientation == "image":
        expected = image_orientation(expected, azimuth, zenith)
    rays = Rays(azimuth, zenith, orientation)
    points = rays(depth)
    assert torch.equal(points, expected)
    assert points.is_contiguous()
    assert points.shape[1:] == rays.shape
    assert 0 < points[:, 3].mean() < 1, "both kinds of rays must be there"
