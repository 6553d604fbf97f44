import numpy as np
import pytest
import torch

from fusionlit.geometry import xyza
from fusionlit.synthetic.raycast import cast, hit_cube, hit_sphere
from fusionlit.synthetic.scene import HALF_SIZE, SENSOR, TO_LIGHT, Objects, draw_objects
from fusionlit.synthetic.sensors import ANGLES, lidar_depth, lidar_rays

AHEAD = np.array([[0.0], [1.0], [0.0]])


def one(center, rotation=None):
    rotation = np.eye(3) if rotation is None else rotation
    return Objects(np.array([[center]], dtype=float), rotation[None, None], np.ones((1, 1, 3)))


def test_the_center_ray_meets_a_sphere_at_its_distance_less_its_radius():
    hits = cast(AHEAD, one([0, 2, 0]), hit_sphere)
    assert hits.distance.item() == pytest.approx(27 - HALF_SIZE, abs=1e-12)
    assert hits.light.item() == pytest.approx(-TO_LIGHT[1])  # the normal there is -y


def test_a_ray_beside_the_middle_of_a_sphere_shortens_by_half_a_chord():
    hits = cast(AHEAD, one([0.5, 2, 0]), hit_sphere)
    assert hits.distance.item() == pytest.approx(27 - np.sqrt(HALF_SIZE**2 - 0.25), abs=1e-12)


def test_a_cube_on_its_edge_is_met_at_half_a_face_diagonal():
    c = np.sqrt(0.5)
    turned = np.array([[c, -c, 0], [c, c, 0], [0, 0, 1]])
    # A hair beside the edge, whose two faces both slope by 45 degrees.
    assert cast(AHEAD, one([1e-9, 0, 0], turned), hit_cube).distance.item() == pytest.approx(
        25 - HALF_SIZE / c, abs=1e-8
    )
    assert cast(AHEAD, one([0, 0, 0]), hit_cube).distance.item() == pytest.approx(25 - HALF_SIZE, abs=1e-12)


@pytest.mark.parametrize("hit", [hit_cube, hit_sphere])
def test_rays_beside_an_object_meet_nothing(hit):
    hits = cast(AHEAD, one([1.5, 0, 0]), hit)
    assert np.isinf(hits.distance).all()
    assert (hits.light == 0).all()
    assert (hits.color == 0).all()


def lidar_points(objects, hit):
    """World coordinates `(N, 3)` of each frame's returns, through the same function that the data module uses."""
    depth = torch.from_numpy(lidar_depth(lidar_rays(), objects, hit)).double()
    angles = torch.from_numpy(ANGLES).double()
    for frame in xyza(depth, angles, angles).numpy():
        yield frame[:3, frame[3] == 1].T + SENSOR


def test_every_lidar_return_lies_on_the_sphere():
    objects = draw_objects(1, range(40))
    for points, center in zip(lidar_points(objects, hit_sphere), objects.center[:, 0], strict=True):
        assert len(points) > 30
        np.testing.assert_allclose(np.linalg.norm(points - center, axis=1), HALF_SIZE, atol=1e-4)


def test_every_lidar_return_lies_on_the_surface_of_the_rotated_cube():
    objects = draw_objects(1, range(40))
    for k, points in enumerate(lidar_points(objects, hit_cube)):
        own = (points - objects.center[k, 0]) @ objects.rotation[k, 0]
        assert len(points) > 30
        np.testing.assert_allclose(np.abs(own).max(axis=1), HALF_SIZE, atol=1e-4)


@pytest.mark.parametrize("hit", [hit_cube, hit_sphere])
def test_the_hit_is_the_nearest_point_of_the_object_along_the_ray(hit):
    """Dense oracle: march along each ray in small steps and see where it is inside."""
    objects, rays = draw_objects(5, range(3)), lidar_rays()[:, ::37]
    steps = np.arange(15, 35, 0.01)
    hits = cast(rays, objects, hit)
    for k in range(3):
        points = SENSOR + steps[:, None, None] * rays.T - objects.center[k, 0]
        own = points @ objects.rotation[k, 0]
        inside = np.abs(own).max(-1) <= HALF_SIZE if hit is hit_cube else np.linalg.norm(own, axis=-1) <= HALF_SIZE
        first = np.where(inside.any(0), steps[inside.argmax(0)], np.inf)
        both = np.isfinite(first) & np.isfinite(hits.distance[k])
        assert both.sum() > 1
        assert (np.isfinite(first) == np.isfinite(hits.distance[k])).mean() > 0.98  # but for grazed edges
        np.testing.assert_allclose(hits.distance[k][both], first[both], atol=0.011)


def test_the_nearer_object_hides_the_farther_one_whatever_their_order():
    near, far = [0.0, -3.0, 0.0], [0.0, 3.0, 0.0]
    for order in ([0, 1], [1, 0]):
        center, color = np.array([near, far])[order], np.array([[1.0, 0, 0], [0, 0, 1.0]])[order]
        hits = cast(AHEAD, Objects(center[None], np.stack([np.eye(3)] * 2)[None], color[None]), hit_cube)
        assert hits.distance.item() == pytest.approx(22 - HALF_SIZE)
        np.testing.assert_array_equal(hits.color[0, 0], [1, 0, 0])


def test_faces_turned_away_from_the_light_are_black():
    away = np.array([[0.0], [0.0], [1.0]])  # straight up from the sensor
    hits = cast(away, one([0, -25, 10]), hit_cube)
    assert hits.distance.item() == pytest.approx(10 - HALF_SIZE)
    assert hits.light.item() == 0  # its lower face looks down, the light comes from above
