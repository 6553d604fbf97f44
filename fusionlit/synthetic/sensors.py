"""The sensors, a spherical LiDAR and a pinhole camera at the same position: their rays and images."""

import numpy as np
from numpy.typing import NDArray

from fusionlit.geometry import NO_RETURN
from fusionlit.synthetic.raycast import ShapeHit, cast
from fusionlit.synthetic.scene import Array, Objects

SIZE = 64
"""Rows and columns of both sensors."""
FOCAL_LENGTH = 70.0
"""Focal length of the camera (px); its field of view is 49 degrees, that of the LiDAR 32."""
ANGLES = np.deg2rad((np.arange(SIZE) - SIZE // 2) * 0.5).astype(np.float32)
"""Azimuth of the LiDAR's rows and zenith of its columns (rad)."""


def lidar_rays() -> Array:
    """Directions `(3, SIZE * SIZE)` of the LiDAR, rows azimuth, columns zenith."""
    across, down = np.meshgrid(-ANGLES.astype(np.float64), -ANGLES.astype(np.float64), indexing="ij")
    return np.stack([np.sin(across) * np.cos(down), np.cos(across) * np.cos(down), np.sin(down)]).reshape(3, -1)


def camera_rays() -> Array:
    """Directions `(3, SIZE * SIZE)` through the centers of the camera's pixels, from the top left, row by row."""
    offset = np.arange(SIZE) + 0.5 - SIZE / 2
    down, right = np.meshgrid(offset, offset, indexing="ij")
    rays = np.stack([right, np.full_like(right, FOCAL_LENGTH), -down]).reshape(3, -1)
    return np.asarray(rays / np.sqrt((rays * rays).sum(0)))


def lidar_depth(rays: Array, objects: Objects, hit: ShapeHit) -> NDArray[np.float32]:
    """Range images `(B, SIZE, SIZE)`: distance along the ray, 50.0 without a return."""
    distance = cast(rays, objects, hit).distance
    return np.minimum(distance, NO_RETURN).astype(np.float32).reshape(-1, SIZE, SIZE)


def camera_image(rays: Array, objects: Objects, hit: ShapeHit) -> NDArray[np.uint8]:
    """RGBA images `(B, SIZE, SIZE, 4)`: lit matte surfaces on a black background, alpha 255."""
    hits = cast(rays, objects, hit)
    rgba = np.full((*hits.light.shape, 4), 255, dtype=np.uint8)
    rgba[..., :3] = np.rint(255 * hits.light[..., None] * hits.color)
    return rgba.reshape(-1, SIZE, SIZE, 4)
