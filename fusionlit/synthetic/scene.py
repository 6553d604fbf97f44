"""Scenes: objects in a cubic volume in front of the sensors, drawn per frame, and a directional light.

Scene coordinates: x to the right, y away from the sensors, z up, origin in the middle of the volume.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SENSOR = np.array([0.0, -25.0, 0.0])
"""Position of LiDAR and camera, which look along y."""
REACH = 5.0
"""Object centers are uniform in [-REACH, REACH]^3."""
HALF_SIZE = 1.4
"""Radius of a sphere, half the side of a cube."""
TO_LIGHT = np.array([-1.0, -2.0, 2.0]) / 3.0
"""Unit vector to the directional light: to the left, above and behind the sensors, so that some visible face of every
object is lit."""
DARKEST = 0.2
"""Minimum channel value of a random color, so that objects are visible on the black background."""
PRIMARIES = {"red": (1.0, 0.0, 0.0), "green": (0.0, 1.0, 0.0), "blue": (0.0, 0.0, 1.0)}
"""Colors of the cubes in the position task, in the order of the columns of `positions.csv`."""


class Objects(NamedTuple):
    """`K` objects in each of `B` frames; the ray caster decides whether they are spheres or cubes.

    Args:
        center: `(B, K, 3)`.
        rotation: `(B, K, 3, 3)`; the columns are the axes of a cube.
        color: `(B, K, 3)`, RGB in [0, 1].
    """

    center: Array
    rotation: Array
    color: Array


def draw_objects(seed: int, frames: range, colors: Array | None = None) -> Objects:
    """Draw the objects of some frames; those of frame k depend only on `(seed, k)`.

    Args:
        seed: Seed of the data set.
        frames: Frame indices.
        colors: `(K, 3)`, one color per object; None: a single object of a random color.
    """
    return Objects(*(np.stack(field) for field in zip(*(_draw(seed, k, colors) for k in frames), strict=True)))


def _draw(seed: int, frame: int, colors: Array | None) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng((seed, frame))
    if colors is None:
        colors = rng.uniform(DARKEST, 1.0, (1, 3))
    center = rng.uniform(-REACH, REACH, (len(colors), 3))
    return center, _rotation(rng.standard_normal((len(colors), 4))), colors


def _rotation(quaternion: Array) -> Array:
    """Rotation matrices `(K, 3, 3)` of quaternions `(K, 4)`; normal ones make them uniform (Marsaglia 1972)."""
    w, x, y, z = (quaternion / np.linalg.norm(quaternion, axis=1, keepdims=True)).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), -1, 0)
