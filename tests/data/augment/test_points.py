import pytest
import torch

from fusionlit.data.augment.points import Scan, add_range_noise, azimuth_axis, drop_beams
from fusionlit.data.replicator.points import Rays
from fusionlit.errors import ConfigError
from fusionlit.geometry import NO_RETURN
from fusionlit.synthetic.raycast import hit_cube, hit_sphere


def shuffled():
    return torch.randperm(64, generator=torch.Generator().manual_seed(0))


def check_scene(found, expected, known):
    """Equal where `known` but for a few rays at edges, which rounding decides; nothing elsewhere."""
    same = torch.isclose(found, expected, rtol=1e-5, atol=1e-3).all(1)
    assert same[known].double().mean() > 0.9995
    assert expected[:, 3][known].mean() > 0.05, "there is something to see"
    assert (found[:, 3][~known] == 0).all()
    assert (~known).any()


@pytest.mark.parametrize("orientation", ["image", "raw"])
@pytest.mark.parametrize("order", [slice(None), shuffled()], ids=["sorted", "shuffled"])
@pytest.mark.parametrize("hit", [hit_cube, hit_sphere])
def test_a_flip_is_what_the_sensor_sees_of_the_mirrored_scene(scenes, orientation, order, hit):
    objects = scenes.draw()
    rays, points = scenes.points(objects, hit, orientation, order)
    _, expected = scenes.points(scenes.mirrored(objects), hit, orientation, order)
    found = Scan("lidar", rays.directions).moved(points, torch.ones(24).bool(), torch.zeros(24).long())
    lost = scenes.azimuth(orientation, order) < -0.275  # -16 degrees, which have no ray on the other side
    assert lost.sum() == 64
    check_scene(found, expected, ~lost.expand(24, 64, 64))
    torch.testing.assert_close(found[:, :3, lost], (NO_RETURN * rays.directions[:, lost]).expand(24, -1, -1))


@pytest.mark.parametrize("orientation", ["image", "raw"])
@pytest.mark.parametrize("order", [slice(None), shuffled()], ids=["sorted", "shuffled"])
@pytest.mark.parametrize("flip", [False, True])
def test_a_shift_is_what_the_turned_sensor_sees(scenes, orientation, order, flip):
    objects, columns = scenes.draw(), torch.arange(24) - 12
    rays, points = scenes.points(objects, hit_cube, orientation, order)
    before = scenes.mirrored(objects) if flip else objects
    _, expected = scenes.points(scenes.turned(before, scenes.step * columns.numpy()), hit_cube, orientation, order)
    found = Scan("lidar", rays.directions).moved(points, torch.full((24,), flip), columns)
    azimuth = scenes.azimuth(orientation, order)
    looked = azimuth + scenes.step * columns[:, None, None]  # where each ray looked before
    looked = -looked if flip else looked
    half = scenes.step / 2
    check_scene(found, expected, (looked > azimuth.min() - half) & (looked < azimuth.max() + half))


@pytest.mark.parametrize("orientation", ["image", "raw"])
def test_moved_points_lie_on_the_rays_of_the_sensor(scenes, orientation):
    rays, points = scenes.points(scenes.draw(), orientation=orientation)
    flipped = torch.arange(24) % 2 == 0
    found = Scan("lidar", rays.directions).moved(points, flipped, torch.arange(24) - 12)
    x, y, z = found[:, :3].double().unbind(1)
    expected = rays.directions.double()
    torch.testing.assert_close(
        torch.atan2(-x, y), torch.atan2(-expected[0], expected[1]).expand_as(x), atol=1e-6, rtol=0
    )
    distance = torch.linalg.vector_norm(found[:, :3].double(), dim=1)
    torch.testing.assert_close((z / distance).asin(), expected[2].asin().expand_as(z), atol=1e-6, rtol=0)


def test_a_flip_negates_x_and_two_flips_undo_each_other(scenes):
    rays, points = scenes.points(scenes.draw())
    scan, yes, still = Scan("lidar", rays.directions), torch.ones(24).bool(), torch.zeros(24).long()
    once = scan.moved(points, yes, still)
    expected = points[..., :63].flip(-1) * torch.tensor([-1, 1, 1, 1])[:, None, None]
    torch.testing.assert_close(once[..., :63], expected)
    torch.testing.assert_close(scan.moved(once, yes, still)[..., :63], points[..., :63])


def test_samples_that_do_not_move_stay_bit_for_bit_and_reach_no_other(scenes):
    rays, points = scenes.points(scenes.draw(4))
    points[2] = torch.nan
    flipped, columns = torch.tensor([False, True, True, False]), torch.tensor([0, 0, 3, -3])
    found = Scan("lidar", rays.directions).moved(points, flipped, columns)
    assert torch.equal(found[0], points[0])
    assert torch.isfinite(found[[0, 1, 3]]).all()


@pytest.mark.parametrize("orientation", ["image", "raw"])
def test_the_dimension_of_azimuth_is_found(scenes, orientation):
    rays, _ = scenes.points(scenes.draw(1), orientation=orientation)
    scan = Scan("lidar", rays.directions)
    assert azimuth_axis(rays.directions) == scan.axis == (-1 if orientation == "image" else -2)
    assert scan.width == 64
    assert scan.step == pytest.approx(scenes.step, rel=1e-6)


def test_grids_that_cannot_move_are_refused():
    even, zenith = torch.linspace(-0.2, 0.2, 9), torch.linspace(-0.1, 0.1, 5)
    for uneven in (torch.tensor([-0.2, -0.1, 0.0, 0.15, 0.2]), torch.zeros(1)):
        with pytest.raises(
            ConfigError, match=r"rays of 'lidar' to form a grid with even azimuth steps .* leave their rays"
        ):
            Scan("lidar", Rays(uneven, zenith, "image").directions)
    tilted = torch.stack(torch.meshgrid(zenith, even, indexing="ij"))  # a pinhole: azimuth changes in no even steps
    tilted = torch.stack((tilted[1], torch.full((5, 9), 0.2), tilted[0]))
    with pytest.raises(ConfigError, match="grid with even azimuth steps"):
        Scan("lidar", tilted / tilted.norm(dim=0))
    Scan("lidar", Rays(even, zenith, "image").directions).check_mirror()
    for azimuth in (even + 0.012, even + 0.15):
        scan = Scan("lidar", Rays(azimuth, zenith, "image").directions)
        with pytest.raises(ConfigError, match=r"azimuths of 'lidar' to be symmetric for `flip`, .* Leave out `flip`"):
            scan.check_mirror()


def test_range_noise_moves_returns_along_their_rays_and_nothing_else(scenes):
    _, points = scenes.points(scenes.draw(8))
    noise = torch.randn(8, 1, 64, 64, generator=torch.Generator().manual_seed(1))
    found = add_range_noise(points, 0.3 * noise)
    there = points[:, 3] > 0
    assert torch.equal(found[:, 3], points[:, 3])
    assert torch.equal(found.movedim(1, -1)[~there], points.movedim(1, -1)[~there])
    before, after = (x[:, :3].movedim(1, -1)[there].double() for x in (points, found))
    change = after.norm(dim=-1) - before.norm(dim=-1)
    torch.testing.assert_close(change, 0.3 * noise[:, 0][there].double(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(after / after.norm(dim=-1, keepdim=True), before / before.norm(dim=-1, keepdim=True))


def test_noise_never_takes_a_point_past_the_sensor_and_a_point_in_the_sensor_stays():
    points = torch.tensor([[0.0, 2.0, 0.0, 1.0], [0.0, 0.0, 0.0, 1.0]]).T[None, :, None]
    found = add_range_noise(points, torch.full((1, 1, 1, 2), -5.0))
    assert found.tolist() == [[[[0, 0]], [[0, 0]], [[0, 0]], [[1, 1]]]]


def test_a_lost_beam_reads_as_rays_without_return_do(scenes):
    rays, points = scenes.points(scenes.draw(3))
    dropped = torch.zeros(3, 1, 64, 1, dtype=torch.bool)
    dropped[1, :, 20:30] = True
    found = drop_beams(points, dropped)
    nothing = rays(torch.full((1, 64, 64), NO_RETURN))[0]
    torch.testing.assert_close(found[1, :, 20:30], nothing[:, 20:30])
    assert torch.equal(found[1, 3], points[1, 3] * ~dropped[1, 0])
    assert torch.equal(found[[0, 2]], points[[0, 2]])
    assert points[1, 3, 20:30].any(), "there was something to lose"
    zeros = drop_beams(torch.zeros(1, 4, 2, 2), torch.ones(1, 1, 2, 1, dtype=torch.bool))
    assert torch.equal(zeros, torch.zeros(1, 4, 2, 2))
