import numpy as np
import pytest
import torch

from fusionlit.data.augment.motion import Motion
from fusionlit.data.augment.roles import Roles
from fusionlit.data.replicator.points import Rays
from fusionlit.errors import ConfigError
from fusionlit.types import TargetSpec

CLASSES = TargetSpec("multiclass", 2)
BOTH = Roles(["rgb"], ["lidar"], [])


def rays(step=0.01, count=9):
    angles = step * (torch.arange(count) - count // 2)
    return Rays(angles, angles, "image").directions


def test_motions_are_uniform_and_flips_have_their_probability():
    motion = Motion(0.3, 0.2, 70)
    flipped, share = motion.draw(10_000, torch.Generator().manual_seed(0))
    assert flipped.double().mean() == pytest.approx(0.3, abs=4 * 0.21**0.5 / 100)
    assert share.abs().max() <= 0.2
    assert share.mean() == pytest.approx(0, abs=4 * 0.4 / 12**0.5 / 100)
    assert share.std() == pytest.approx(0.4 / 12**0.5, rel=0.03)
    assert torch.corrcoef(torch.stack((flipped.float(), share)))[0, 1].abs() < 4 / 100


def test_pictures_without_points_move_by_whole_pixels_and_open_black_ground():
    motion = Motion(0, 0.5, None)
    motion.check(Roles(["rgb"], [], []), CLASSES, {})
    drawn = motion.draw(50, torch.Generator().manual_seed(0))
    rgba = 0.1 + torch.rand(50, 4, 3, 8)
    moved = motion.picture(rgba, drawn, 255.0)
    for before, after, share in zip(rgba, moved, drawn.share.tolist(), strict=True):
        k = round(share * 8)
        assert torch.equal(after[..., max(k, 0) : 8 + k], before[..., max(-k, 0) : 8 - k])
        assert torch.equal(after == torch.tensor([0, 0, 0, 255.0])[:, None, None], (after == 0) | (after == 255))
        assert (after[3] == 255).sum() == 3 * abs(k)


def test_pictures_and_points_turn_by_one_angle(scenes):
    """Where the camera has points before it, it sees something."""
    objects = scenes.draw()
    sensor, points = scenes.points(objects)
    motion = Motion(0.5, 0.3, 70.0)
    motion.check(BOTH, CLASSES, {"lidar": sensor.directions})
    drawn = motion.draw(24, torch.Generator().manual_seed(1))
    photo = scenes.photograph(objects, np.array([0.0, -1.0, 0.0]))  # every face that is seen is lit
    image = motion.picture(photo, drawn, 1.0)[:, :3].amax(1) > 0.02
    moved = motion.points("lidar", points, drawn)
    seen = {}
    for name, cloud in {"moved": moved, "still": points}.items():
        x, y, z, valid = cloud.unbind(1)
        column, row = ((32 + 70 * part / y).floor().long() for part in (x, -z))
        frame, *pixel = torch.nonzero((valid > 0) & (abs(column - 31.5) < 32) & (abs(row - 31.5) < 32)).T
        seen[name] = image[frame, row[frame, *pixel], column[frame, *pixel]].double().mean()
    assert seen["moved"] > seen["still"] + 0.3
    assert seen["moved"] > 0.97


@pytest.mark.parametrize(
    ("motion", "roles", "target", "known", "message"),
    [
        (
            Motion(0.5, 0, None),
            Roles(["rgb"], [], []),
            TargetSpec("regression", 9),
            {},
            r"classification target for `flip` and `shift`, but got regression.* Set `flip` and `shift` to 0",
        ),
        (Motion(0.5, 0, None), Roles(["rgb"], [], ["heat"]), CLASSES, {}, r"but \['heat'\] would not move\. Add them"),
        (Motion(0, 0.1, 70), BOTH, CLASSES, {}, r"known rays .* those of \['lidar'\] .* Return them from `rays`"),
        (Motion(0, 0.1, None), BOTH, CLASSES, {"lidar": rays()}, r"`focal_length` of the camera \(px\), .*\['rgb'\]"),
        (Motion(0.5, 0, None), BOTH, CLASSES, {"lidar": rays(count=6)[..., :4]}, "symmetric for `flip`"),
        (
            Motion(0, 0.1, 70),
            Roles([], ["near", "far"], []),
            CLASSES,
            {"near": rays(0.01), "far": rays(0.02)},
            r"the same azimuth step in all points for `shift`, but got {'near': 0\.01, 'far': 0\.02} rad",
        ),
    ],
)
def test_contradictions_are_refused(motion, roles, target, known, message):
    with pytest.raises(ConfigError, match=message):
        motion.check(roles, target, known)
    Motion(0, 0, None).check(roles, target, known)  # nothing moves


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((1.5, 0, None), r"`flip` to be a probability from 0 to 1, but got 1\.5"),
        ((0, 0.6, None), r"`shift` to be a fraction of the width from 0 to 0\.5, but got 0\.6"),
        ((0, 0, 0), r"`focal_length` to be a number of pixels above 0, but got 0"),
    ],
)
def test_numbers_out_of_range_are_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        Motion(*values)
