import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torchvision.transforms.v2 import functional as torchvision

from fusionlit.data.augment.pictures import flip, move, turn
from fusionlit.synthetic.scene import TO_LIGHT
from fusionlit.synthetic.sensors import FOCAL_LENGTH

GROUND = torch.tensor([0.0, 0.0, 0.0, 1.0])[:, None, None]


def noise(batch=5):
    return torch.rand(batch, 4, 6, 7, generator=torch.Generator().manual_seed(0))


def test_a_flip_is_the_picture_of_the_mirrored_scene(scenes):
    objects, flipped = scenes.draw(), torch.arange(24) % 3 > 0
    image = scenes.photograph(objects)
    expected = scenes.photograph(scenes.mirrored(objects), TO_LIGHT * [-1, 1, 1])
    found = flip(image, flipped)
    same = torch.isclose(found[flipped], expected[flipped], atol=1 / 254).all(1)
    assert same.double().mean() > 0.9995  # rounding decides a few rays at edges
    assert torch.equal(found[~flipped], image[~flipped])
    assert torch.equal(flip(found, flipped), image)


def test_a_turn_is_the_picture_of_the_turned_camera(scenes):
    objects, angle = scenes.draw(), scenes.step * np.repeat([-16, -5, 0, 1, 6, 16], 4)
    up = np.array([0.0, 0.0, 1.0])  # a light that does not turn
    image, expected = scenes.photograph(objects, up), scenes.photograph(scenes.turned(objects, angle), up)
    found = turn(image, torch.from_numpy(angle), FOCAL_LENGTH, GROUND)
    assert torch.equal(found[8:12], image[8:12]), "an angle of 0"
    assert (found[:, 3] == 1).all()
    column = np.arctan((np.arange(64) + 0.5 - 32) / FOCAL_LENGTH)
    looked = torch.from_numpy(abs(column - angle[:, None]))[:, None].expand(24, 64, 64)
    assert (found[:, :3].amax(1)[looked > np.arctan(33 / FOCAL_LENGTH)] == 0).all()
    # Faces are plain: interpolation leaves all but the pixels at their edges.
    known = looked < np.arctan(31 / FOCAL_LENGTH)
    same = torch.isclose(found, expected, atol=0.01).all(1)
    lit = known & (expected[:, :3].amax(1) > 0)
    assert same[known].double().mean() > 0.97
    assert same[lit].double().mean() > 0.75
    far = torch.from_numpy(abs(angle) > 0.1)[:, None, None] & lit
    assert torch.isclose(image, expected, atol=0.01).all(1)[far].double().mean() < 0.4, "turning makes a difference"


def test_each_pixel_shows_what_its_ray_met_before_the_turn():
    """Of a picture of its own coordinates, which are linear, interpolation makes no error."""
    focal, angle = 40.0, np.array([0.2, -0.1])
    u, v = (torch.arange(n) + 0.5 - n / 2 for n in (65, 51))
    down, right = torch.meshgrid(v, u, indexing="ij")
    image = torch.stack((right, down)).double().expand(2, 2, 51, 65)
    found = turn(image, torch.from_numpy(angle), focal, torch.full((2, 1, 1), 1000.0)).numpy()
    rays = np.stack((right, np.full((51, 65), focal), -down), -1).reshape(-1, 3)
    for picture, a in zip(found, angle, strict=True):
        x, y, z = Rotation.from_rotvec([0, 0, a]).apply(rays).T
        expected = np.stack((focal * x / y, -focal * z / y)).reshape(2, 51, 65)
        inside = (abs(expected[0]) < 32) & (abs(expected[1]) < 25)
        assert inside.mean() > 0.7
        np.testing.assert_allclose(picture[:, inside], expected[:, inside], atol=1e-4)


def test_a_camera_that_turns_away_sees_nothing():
    found = turn(noise(), torch.tensor([0.0, 1.5, 1.7, 3.0, -2.0]), 3.0, GROUND)
    assert torch.equal(found[0], noise()[0])
    assert torch.isfinite(found).all()
    assert torch.equal(found[3], GROUND.expand(4, 6, 7))


def test_whole_pixels_move_as_torchvision_pads_and_crops():
    image, columns = noise(), torch.tensor([-7, -2, 0, 3, 6])
    found = move(image, columns, torch.zeros(4, 1, 1))
    for moved, x, k in zip(found, image, columns.tolist(), strict=True):
        padded = torchvision.pad(x, [7, 0])
        assert torch.equal(moved, torchvision.crop(padded, 0, 7 - k, 6, 7))
    assert torch.equal(move(image, columns, GROUND)[0], GROUND.expand(4, 6, 7))


def test_what_one_picture_holds_reaches_no_other():
    image = noise()
    image[2] = torch.nan
    angle, columns, flipped = (
        torch.tensor([0.1, 0.2, 0.1, -0.1, 0]),
        torch.tensor([1, 2, 1, -1, 0]),
        torch.ones(5).bool(),
    )
    others = [0, 1, 3, 4]
    for found in (turn(image, angle, 5.0, GROUND), move(image, columns, GROUND), flip(image, flipped)):
        assert torch.isfinite(found[others]).all()
