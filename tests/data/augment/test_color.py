import pytest
import torch
from torchvision.transforms.v2 import functional as torchvision

from fusionlit.data.augment.color import ColorJitter, adjust_brightness, adjust_contrast, adjust_hue, adjust_saturation
from fusionlit.errors import ConfigError

ADJUST = {
    "brightness": (adjust_brightness, torchvision.adjust_brightness, 0.3, 1.9),
    "contrast": (adjust_contrast, torchvision.adjust_contrast, 0.3, 1.9),
    "saturation": (adjust_saturation, torchvision.adjust_saturation, 0.3, 1.9),
    "hue": (adjust_hue, torchvision.adjust_hue, -0.5, 0.5),
}


def pictures(batch=12):
    rgb = 0.01 + 0.99 * torch.rand(batch, 3, 8, 9, generator=torch.Generator().manual_seed(0))
    rgb[:, :, 0, 0] = torch.tensor([0.5, 0.5, 0.5])  # gray, with no hue
    rgb[:, :, 0, 1] = torch.tensor([0.7, 0.7, 0.2])  # two channels tie
    rgb[:, :, 0, 2] = torch.tensor([0.2, 0.7, 0.7])
    return rgb


@pytest.mark.parametrize("name", ADJUST)
@pytest.mark.parametrize("white", [1.0, 255.0])
def test_each_picture_gets_what_torchvision_gives_it_alone(name, white):
    ours, theirs, least, most = ADJUST[name]
    rgb, factor = pictures(), torch.linspace(least, most, 12)
    found = ours(white * rgb, factor) if name == "hue" else ours(white * rgb, factor, white)
    expected = torch.stack([theirs(image, float(f)) for image, f in zip(rgb, factor, strict=True)])
    torch.testing.assert_close(found / white, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ADJUST)
def test_a_black_ground_stays_black_and_counts_for_nothing(name):
    ours, _, least, most = ADJUST[name]
    rgb, factor = pictures(), torch.linspace(least, most, 12)
    ground = torch.cat((torch.zeros_like(rgb), rgb), -1)
    found = ours(ground, factor)
    assert (found[..., :9] == 0).all()
    torch.testing.assert_close(found[..., 9:], ours(rgb, factor))


def test_factors_are_drawn_for_each_picture_and_alpha_stays():
    rgba = torch.full((4000, 4, 1, 1), 0.5)
    varied = ColorJitter(0.4, 0, 0, 0, 1.0)(rgba, torch.Generator().manual_seed(0))
    assert torch.equal(varied[:, 3], rgba[:, 3])
    factor = varied[:, 0] / 0.5
    assert factor.min() >= 0.6
    assert factor.max() <= 1.4
    assert factor.mean() == pytest.approx(1, abs=4 * 0.8 / 12**0.5 / 4000**0.5)
    assert factor.std() == pytest.approx(0.8 / 12**0.5, rel=0.05)
    strong = ColorJitter(3, 0, 0, 0, 10.0)(rgba, torch.Generator().manual_seed(0))[:, 0] / 0.5
    assert strong.min() >= 0, "a factor below 0 would turn colors round"
    assert strong.mean() == pytest.approx(2, abs=0.1)


def test_the_order_is_brightness_contrast_saturation_hue():
    rgb = pictures(1)
    varied = ColorJitter(0.5, 0.5, 0.5, 0.2, 1.0)(rgb, torch.Generator().manual_seed(4))
    random = torch.rand(4, generator=torch.Generator().manual_seed(4)).tolist()
    expected = rgb[0]
    for adjust, u in zip(("brightness", "contrast", "saturation"), random, strict=False):
        expected = ADJUST[adjust][1](expected, 0.5 + u)
    expected = torchvision.adjust_hue(expected, 0.2 * (2 * random[3] - 1))
    torch.testing.assert_close(varied[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((-1, 0, 0, 0, 1), r"finite numbers >= 0, but got {'brightness': -1}"),
        ((0, float("inf"), float("nan"), 0, 1), r"but got {'contrast': inf, 'saturation': nan}"),
        ((0, 0, 0, 0.6, 1), r"`hue` to be a fraction of the color circle from 0 to 0\.5, but got 0\.6"),
        ((0, 0, 0, 0, 0), r"`white` to be the largest value of images, above 0, but got 0"),
    ],
)
def test_numbers_out_of_range_are_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        ColorJitter(*values)
