"""Intersections of rays with spheres and rotated cubes, in closed form, for all frames of a chunk at once.

Computed elementwise, without matrix products, so that no result depends on the size of the chunk.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fusionlit.synthetic.scene import HALF_SIZE, SENSOR, TO_LIGHT, Array, Objects


class Hits(NamedTuple):
    """First hits of `N` rays from the sensor in each of `B` frames.

    Args:
        distance: `(B, N)`, along the ray; infinite without a hit.
        light: `(B, N)`, cosine between surface normal and light; 0 on faces turned away from it, and without a hit.
        color: `(B, N, 3)`, color of the hit object.
    """

    distance: Array
    light: Array
    color: Array


ShapeHit = Callable[[Array, Array, Array], tuple[Array, Array]]
"""Maps unit rays `(3, M)`, centers relative to the sensor `(3, M)` and cube axes `(3, 3, M)` (components, then axes)
to distance and cosine with the light, both `(M,)`."""


def hit_sphere(rays: Array, center: Array, axes: Array) -> tuple[Array, Array]:
    """Smaller root t of |t d - c|^2 = r^2; a sphere ignores its axes."""
    along = _dot(rays, center)
    inside = along * along - _dot(center, center) + HALF_SIZE**2
    distance = np.where(inside >= 0, along - np.sqrt(np.maximum(inside, 0)), np.inf)
    surface = np.where(inside >= 0, distance, 0) * rays - center
    return distance, _dot(surface, TO_LIGHT) / HALF_SIZE


def hit_cube(rays: Array, center: Array, axes: Array) -> tuple[Array, Array]:
    """Slab method along the cube's own axes: the ray is inside where it is between all three pairs of faces."""
    entry, leave = np.full(rays.shape[1], -np.inf), np.full(rays.shape[1], np.inf)
    light = np.zeros(rays.shape[1])
    for axis in range(3):
        with np.errstate(divide="ignore"):
            inverse = 1 / _dot(rays, axes[:, axis])
        middle = _dot(center, axes[:, axis])
        faces = (middle - HALF_SIZE) * inverse, (middle + HALF_SIZE) * inverse  # infinite where the ray is parallel
        # The face that is entered last is hit; its normal points against the ray.
        light = np.where(np.minimum(*faces) > entry, -np.sign(inverse) * _dot(axes[:, axis], TO_LIGHT), light)
        entry, leave = np.maximum(entry, np.minimum(*faces)), np.minimum(leave, np.maximum(*faces))
    return np.where(entry <= leave, entry, np.inf), light


def cast(rays: Array, objects: Objects, hit: ShapeHit) -> Hits:
    """Nearest hit of every ray among all objects.

    Args:
        rays: `(3, N)`, unit directions from the sensor.
        objects: Objects of `B` frames.
        hit: Intersection function for the shape of all objects.
    """
    frames, count = objects.center.shape[:2]
    shape = (frames, rays.shape[1])
    nearest = Hits(np.full(shape, np.inf), np.zeros(shape), np.zeros((*shape, 3)))
    for k in range(count):
        center = objects.center[:, k] - SENSOR
        frame, ray = _near(rays, center)
        axes = np.moveaxis(objects.rotation[frame, k], 0, -1)
        distance, light = hit(rays[:, ray], center[frame].T, axes)
        closer = distance < nearest.distance[frame, ray]
        frame, ray = frame[closer], ray[closer]
        nearest.distance[frame, ray] = distance[closer]
        nearest.light[frame, ray] = np.maximum(light[closer], 0)
        nearest.color[frame, ray] = objects.color[frame, k]
    return nearest


def _near(rays: Array, center: Array) -> tuple[np.ndarray, np.ndarray]:
    """Frames and indices of the rays that pass within a cube's half diagonal of the center."""
    x, y, z = (center[:, i, None] for i in range(3))
    along = x * rays[0] + y * rays[1] + z * rays[2]
    frame, ray = np.nonzero(along * along > x * x + y * y + z * z - 3 * HALF_SIZE**2)
    return frame, ray


def _dot(a: Array, b: Array) -> Array:
    return np.asarray(a[0] * b[0] + a[1] * b[1] + a[2] * b[2])
