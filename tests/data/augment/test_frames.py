import pytest
import torch
from torch.utils.data import DataLoader
from torchvision.transforms.v2 import functional as torchvision

from fusionlit.data import FrameAugmentation, ReplicatorDataModule, collate
from fusionlit.data.augment.points import Scan
from fusionlit.errors import ConfigError, DataError
from fusionlit.types import ModalitySpec, TargetSpec

SEED = (3, 1, 4)
CLASSES = TargetSpec("multiclass", 2)
EVERYTHING = {
    "flip": 0.5,
    "shift": 0.2,
    "brightness": 0.3,
    "contrast": 0.3,
    "saturation": 0.3,
    "hue": 0.1,
    "range_noise": 0.05,
    "beam_drop": 0.1,
    "focal_length": 70.0,
}


@pytest.fixture(scope="module")
def frames(scenes):
    """Rays, and a batch of 24 frames."""
    objects = scenes.draw()
    sensor, points = scenes.points(objects)
    return {"lidar": sensor.directions}, {"rgb": scenes.photograph(objects), "lidar": points}


def ready(frames, **options):
    rays, inputs = frames
    augmentation = FrameAugmentation(**options)
    augmentation.check({name: x.shape[1:] for name, x in inputs.items()}, CLASSES, rays)
    return augmentation


def test_zero_changes_nothing_bit_for_bit_and_each_part_only_its_own(frames):
    _, inputs = frames
    changed = {}
    for name, value in EVERYTHING.items():
        varied = ready(frames, **{"focal_length": 70.0, name: value})(inputs, SEED)
        changed[name] = {key for key, x in varied.items() if not torch.equal(x, inputs[key])}
    both, picture, points = {"rgb", "lidar"}, {"rgb"}, {"lidar"}
    assert changed == {
        "focal_length": set(),
        "flip": both,
        "shift": both,
        **dict.fromkeys(("brightness", "contrast", "saturation", "hue"), picture),
        **dict.fromkeys(("range_noise", "beam_drop"), points),
    }


def test_what_is_zero_draws_no_random_numbers(frames):
    _, inputs = frames
    noise = ready(frames, range_noise=0.1)(inputs, SEED)["lidar"]
    assert torch.equal(ready(frames, range_noise=0.1, images=[])(inputs, SEED)["lidar"], noise)
    generator = torch.Generator().manual_seed(0)
    state = generator.get_state()
    ready(frames)._motion.draw(3, generator)
    ready(frames)._color(inputs["rgb"], generator)
    assert torch.equal(generator.get_state(), state)


def test_the_given_inputs_stay_as_they_are_and_the_seed_alone_decides(frames):
    _, inputs = frames
    copies = {name: x.clone() for name, x in inputs.items()}
    augmentation = ready(frames, **EVERYTHING)
    state = torch.get_rng_state()
    first, again = augmentation(inputs, SEED), augmentation(inputs, SEED)
    assert torch.equal(torch.get_rng_state(), state)
    for name, x in inputs.items():
        assert torch.equal(x, copies[name])
        assert torch.equal(first[name], again[name])
        assert first[name].dtype == x.dtype
        assert torch.isfinite(first[name]).all()
        for other in ((4, 1, 4), (3, 0, 4), (3, 1, 5)):
            assert not torch.equal(augmentation(inputs, other)[name], first[name])


def test_what_an_absent_sample_holds_reaches_no_other(frames):
    _, inputs = frames
    varied = ready(frames, **EVERYTHING)(inputs, SEED)
    lost = {name: x.clone() for name, x in inputs.items()}
    for x in lost.values():
        x[3] = torch.nan
    others = [*range(3), *range(4, 24)]
    for name, x in ready(frames, **EVERYTHING)(lost, SEED).items():
        assert torch.equal(x[others], varied[name][others])


def test_a_flip_is_one_for_all_modalities_of_a_sample(frames):
    rays, inputs = frames
    varied = ready(frames, flip=0.5)(inputs, SEED)
    flipped = torch.tensor([not torch.equal(a, b) for a, b in zip(varied["rgb"], inputs["rgb"], strict=True)])
    assert 4 < flipped.sum() < 20
    assert torch.equal(varied["rgb"][flipped], inputs["rgb"][flipped].flip(-1))
    still = torch.zeros(24, dtype=torch.long)
    assert torch.equal(varied["lidar"], Scan("lidar", rays["lidar"]).moved(inputs["lidar"], flipped, still))


@pytest.mark.parametrize("orientation", ["image", "raw"])
def test_beams_are_those_of_one_zenith_and_are_lost_with_their_probability(scenes, orientation):
    sensor, points = scenes.points(scenes.draw(), orientation=orientation)
    points[:, 3] = 1
    rays = {"lidar": sensor.directions}
    varied = ready((rays, {"lidar": points}), beam_drop=0.2)({"lidar": points}, SEED)["lidar"]
    lost = varied[:, 3] == 0 if orientation == "image" else varied[:, 3].mT == 0
    assert torch.equal(lost.all(-1), lost.any(-1)), "whole beams"
    assert lost[..., 0].double().mean() == pytest.approx(0.2, abs=4 * 0.4 / (24 * 64) ** 0.5)
    assert len(lost[..., 0].unique(dim=0)) == 24, "each sample its own"


def test_range_noise_is_normal(frames):
    _, inputs = frames
    varied = ready(frames, range_noise=0.2)(inputs, SEED)["lidar"]
    there = inputs["lidar"][:, 3] > 0
    change = (varied[:, :3].norm(dim=1) - inputs["lidar"][:, :3].norm(dim=1))[there].double()
    n = len(change)
    assert change.mean() == pytest.approx(0, abs=4 * 0.2 / n**0.5)
    assert change.std() == pytest.approx(0.2, abs=4 * 0.2 / (2 * n) ** 0.5)
    assert (change**4).mean() / change.var() ** 2 == pytest.approx(3, abs=4 * (24 / n) ** 0.5)


def test_points_of_an_unknown_sensor_have_rows_as_beams():
    points = torch.rand(400, 4, 5, 6) + 0.1
    augmentation = FrameAugmentation(range_noise=0.1, beam_drop=0.3, points=["scan"])
    augmentation.check({"scan": (4, 5, 6)}, CLASSES, {})
    lost = augmentation({"scan": points}, SEED)["scan"][:, 3] == 0
    assert torch.equal(lost.all(-1), lost.any(-1))
    assert lost.double().mean() == pytest.approx(0.3, abs=4 * 0.46 / 2000**0.5)


def test_pictures_alone_as_whole_numbers():
    rgb = torch.randint(1, 256, (40, 3, 8, 8)).float()
    augmentation = FrameAugmentation(brightness=0.5, white=255)
    augmentation.check({"rgb": (3, 8, 8), "text": (7,)}, CLASSES, {})
    varied = augmentation({"rgb": rgb, "text": torch.ones(40, 7)}, SEED)
    assert torch.equal(varied["text"], torch.ones(40, 7))
    dark = rgb.amin((1, 2, 3))
    for before, after in zip(rgb, varied["rgb"], strict=True):
        factor = float(after.min() / before.min())
        expected = 255 * torchvision.adjust_brightness(before / 255, factor)
        torch.testing.assert_close(after, expected, rtol=1e-4, atol=1e-2)
    assert len((varied["rgb"].amin((1, 2, 3)) / dark).unique()) == 40


def test_points_are_known_by_their_kind_and_depth_has_no_color():
    inputs = {"rgb": torch.rand(30, 4, 8, 8), "depth": torch.rand(30, 3, 8, 8), "scan": torch.rand(30, 4, 8, 8)}
    kinds = {"rgb": "image", "depth": "depth", "scan": "points"}
    augmentation = FrameAugmentation(brightness=0.5, beam_drop=0.5)
    augmentation.check({name: ModalitySpec(x.shape[1:], kinds[name]) for name, x in inputs.items()}, CLASSES, {})
    varied = augmentation(inputs, SEED)
    assert torch.equal(varied["depth"], inputs["depth"])
    assert torch.equal(varied["rgb"][:, 3], inputs["rgb"][:, 3])  # alpha
    assert not torch.equal(varied["rgb"], inputs["rgb"])
    assert (varied["scan"][:, 3] == 0).any()


def test_maps_without_color_flip_and_keep_their_values():
    inputs = {"rgb": torch.rand(30, 3, 8, 8), "heat": torch.rand(30, 1, 4, 4)}
    augmentation = FrameAugmentation(flip=0.5, brightness=0.5)
    augmentation.check({name: x.shape[1:] for name, x in inputs.items()}, CLASSES, {})
    heat = augmentation(inputs, SEED)["heat"]
    flipped = (heat == inputs["heat"].flip(-1)).flatten(1).all(1)
    assert 5 < flipped.sum() < 25
    assert torch.equal(heat[~flipped], inputs["heat"][~flipped])


def test_pictures_brighter_than_white_are_refused_once():
    augmentation = FrameAugmentation(hue=0.1)
    augmentation.check({"rgb": (3, 8, 8)}, CLASSES, {})
    with pytest.raises(DataError, match=r"images 'rgb' in \[0, 1\], but some values are larger\. Set `white`"):
        augmentation({"rgb": torch.full((2, 3, 8, 8), 200.0)}, SEED)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"range_noise": -1}, r"`range_noise` to be finite and >= 0, but got -1"),
        ({"range_noise": float("nan")}, r"`range_noise` to be finite and >= 0, but got nan"),
        ({"beam_drop": 1}, r"`beam_drop` to be a probability below 1, but got 1"),
        ({"flip": 2}, r"`flip` to be a probability from 0 to 1, but got 2"),
    ],
)
def test_numbers_out_of_range_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        FrameAugmentation(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hue": 0.1}, r"three or four channels for `brightness`, .* but got {'heat': \(1, 8, 8\)}\. Leave these out"),
        ({"beam_drop": 0.1}, r"points for `range_noise` and `beam_drop`, but there are none\. Name maps"),
    ],
)
def test_what_would_have_no_effect_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        FrameAugmentation(**options).check({"heat": (1, 8, 8)}, CLASSES, {})


def test_without_check_it_is_refused():
    with pytest.raises(ConfigError, match="Expected a call of FrameAugmentation's `check`"):
        FrameAugmentation(flip=0.5)({"rgb": torch.rand(2, 3, 4, 4)}, SEED)


# In data modules


@pytest.mark.parametrize("orientation", ["image", "raw"])
def test_training_batches_of_a_rendered_data_set_are_varied(shapes, make_trainer, orientation):
    data = ReplicatorDataModule(shapes, orientation=orientation, augmentation=FrameAugmentation(**EVERYTHING))
    data.setup("fit")
    data.trainer = make_trainer()
    batch = next(iter(DataLoader(data.dataset("train"), batch_size=8, collate_fn=collate)))
    clean = data.convert(batch)["inputs"]
    for training in (True, False):
        data.trainer.training = training
        for name, x in data.on_after_batch_transfer(batch, 0)["inputs"].items():
            assert torch.equal(x, clean[name]) is not training
            assert x.shape[1:] == data.modalities[name].shape
    data.trainer.training = True
    lidar = data.on_after_batch_transfer(batch, 0)["inputs"]["lidar"]
    directions = torch.nn.functional.normalize(lidar[:, :3], dim=1)
    torch.testing.assert_close(directions, data.rays["lidar"].expand_as(directions), atol=1e-6, rtol=0)


def test_coordinates_as_targets_refuse_flips_but_no_noise(positions):
    with pytest.raises(ConfigError, match="classification target for `flip` and `shift`, but got regression"):
        ReplicatorDataModule(positions, "position", augmentation=FrameAugmentation(flip=0.5))
    ReplicatorDataModule(positions, "position", augmentation=FrameAugmentation(range_noise=0.5, brightness=0.2))


def test_a_data_module_of_ones_own_is_checked_when_training_starts(planted):
    data = planted()
    data.augmentation = FrameAugmentation(flip=0.5)
    with pytest.raises(ConfigError, match=r"maps \(channels, H, W\) for FrameAugmentation, .* Use SignalAugm"):
        data.train_dataloader()


def test_it_is_named_in_yaml_by_its_short_name(fusionlit, shapes, tmp_path):
    config = tmp_path / "data.yaml"
    config.write_text(
        "class_path: ReplicatorDataModule\ninit_args:\n  augmentation:\n    class_path: FrameAugmentation\n"
        "    init_args: {flip: 0.5, shift: 0.1, focal_length: 70, hue: 0.1, range_noise: 0.02, beam_drop: 0.05}\n"
    )
    fusionlit("fit", f"--data={config}", f"--data.root={shapes}", "--model=LateFusion", "--trainer.fast_dev_run=2")


@pytest.mark.parametrize("augmentation", ["{flip: 0.5}", "Augmentation"])
def test_without_a_class_yaml_is_refused_with_what_to_write(fusionlit, shapes, capsys, augmentation):
    options = [f"--data.root={shapes}", f"--data.augmentation={augmentation}", "--model=LateFusion"]
    with pytest.raises(SystemExit):
        fusionlit("fit", "--data=ReplicatorDataModule", *options, "--trainer.fast_dev_run=2")
    message = capsys.readouterr().err
    assert "Write one of FrameAugmentation, SignalAugmentation as class_path, its arguments in init_args." in message
