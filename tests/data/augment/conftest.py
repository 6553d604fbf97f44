"""Rendered scenes, and the same scenes mirrored or turned before the sensors are asked again."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from fusionlit.data.replicator.points import Rays
from fusionlit.synthetic import raycast
from fusionlit.synthetic.raycast import hit_cube
from fusionlit.synthetic.scene import SENSOR, Objects, draw_objects
from fusionlit.synthetic.sensors import ANGLES, camera_image, camera_rays, lidar_depth, lidar_rays


class Scenes:
    """Three cubes in each frame; `light` is what a mirrored or turned scene would be lit by."""

    step = np.deg2rad(0.5)

    def draw(self, frames=24):
        return draw_objects(5, range(frames), np.eye(3))

    def mirrored(self, objects):
        swap = np.diag([-1.0, 1.0, 1.0])
        return Objects(objects.center * np.diag(swap), swap @ objects.rotation, objects.color)

    def turned(self, objects, angle):
        """To the right, about the sensors' vertical axis, each frame by its own angle."""
        turn = Rotation.from_rotvec(-angle[:, None] * np.array([0.0, 0.0, 1.0])).as_matrix()[:, None]
        center = (turn @ (objects.center - SENSOR)[..., None])[..., 0] + SENSOR
        return Objects(center, turn @ objects.rotation, objects.color)

    def points(self, objects, hit=hit_cube, orientation="image", order=slice(None)):
        """The sensor's rays, and points; `order` is that of the azimuths in the files."""
        angles = torch.from_numpy(ANGLES.copy())
        rays = Rays(angles[order], angles, orientation)
        return rays, rays(torch.from_numpy(lidar_depth(lidar_rays(), objects, hit))[:, order])

    def azimuth(self, orientation, order=slice(None)):
        """`(64, 64)` of the map's pixels (rad)."""
        angles = torch.from_numpy(ANGLES.copy())
        if orientation == "image":
            return angles.flip(0).expand(64, 64)
        return angles[order][:, None].expand(64, 64)

    def photograph(self, objects, light=None):
        """RGBA `(B, 4, 64, 64)` in [0, 1]; `light` is the direction to the light, by default the renderer's."""
        with pytest.MonkeyPatch.context() as patch:
            if light is not None:
                patch.setattr(raycast, "TO_LIGHT", light)
            image = camera_image(camera_rays(), objects, hit_cube)
        return torch.from_numpy(image).movedim(-1, 1).float() / 255


@pytest.fixture(scope="session")
def scenes():
    return Scenes()
