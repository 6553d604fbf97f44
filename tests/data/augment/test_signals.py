import numpy as np
import pytest
import torch
from lightning import LightningModule, Trainer, seed_everything

from fusionlit.data.augment import SignalAugmentation
from fusionlit.data.augment.signals import roll
from fusionlit.errors import ConfigError
from fusionlit.types import ModalitySpec, TargetSpec

SEED = (3, 1, 4)
CLASSES = TargetSpec("multiclass", 3)


def signals(batch=400, **shapes):
    generator = torch.Generator().manual_seed(0)
    shapes = shapes or {"acc": (3, 128), "gyro": (2, 64)}
    return {name: 5 + 2 * torch.randn(batch, *shape, generator=generator) for name, shape in shapes.items()}


def test_zero_changes_nothing_bit_for_bit():
    inputs = signals()
    for name, x in SignalAugmentation()(inputs, SEED).items():
        assert torch.equal(x, inputs[name])


def test_the_given_inputs_stay_as_they_are():
    inputs = signals()
    copies = {name: x.clone() for name, x in inputs.items()}
    varied = SignalAugmentation(0.1, 0.1, 0.2, 0.3)(inputs, SEED)
    for name in inputs:
        assert torch.equal(inputs[name], copies[name])
        assert not torch.equal(varied[name], copies[name])
        assert varied[name].dtype == copies[name].dtype


def test_jitter_is_normal_noise_as_a_share_of_each_windows_own_deviation():
    x = signals(acc=(3, 128))["acc"] * torch.tensor([0.01, 1.0, 100.0])[:, None]
    noise = SignalAugmentation(jitter=0.3)({"acc": x}, SEED)["acc"] - x
    share = (noise / x.std(-1, correction=0, keepdim=True)).double()
    n = share.numel()
    assert abs(share.mean()) < 4 * 0.3 / n**0.5
    assert share.std() == pytest.approx(0.3, abs=4 * 0.3 / (2 * n) ** 0.5)
    assert share.pow(4).mean() / share.var() ** 2 == pytest.approx(3, abs=4 * (24 / n) ** 0.5)
    assert abs(torch.corrcoef(share.flatten(0, 1).T[:2])[0, 1]) < 4 / 1200**0.5


def test_a_constant_channel_gets_no_jitter():
    x = torch.full((2, 3, 8), 7.0)
    assert torch.equal(SignalAugmentation(jitter=0.5)({"a": x}, SEED)["a"], x)


def test_scale_is_one_normal_factor_a_sample_and_channel():
    x = signals(acc=(3, 16))["acc"].double()
    factor = SignalAugmentation(scale=0.2)({"acc": x}, SEED)["acc"] / x
    torch.testing.assert_close(factor, factor[..., :1].expand_as(factor))
    n = factor[..., 0].numel()
    assert factor.mean() == pytest.approx(1, abs=4 * 0.2 / n**0.5)
    assert factor[..., 0].std() == pytest.approx(0.2, abs=4 * 0.2 / (2 * n) ** 0.5)
    assert len(factor[..., 0].unique()) > 0.99 * n


def test_roll_is_numpys():
    x = signals(5, a=(2, 9))["a"]
    shift = torch.tensor([-9, -2, 0, 3, 14])
    expected = np.stack([np.roll(row, int(k), axis=-1) for row, k in zip(x.numpy(), shift, strict=True)])
    np.testing.assert_array_equal(roll(x, shift), expected)


def test_sensors_of_different_rates_stay_aligned_under_time_shift():
    time = {"fast": torch.arange(200) / 200, "slow": torch.arange(50) / 50}  # shares of the window
    inputs = {name: t.repeat(300, 2, 1) for name, t in time.items()}
    varied = SignalAugmentation(time_shift=0.25)(inputs, SEED)
    shift = {}
    for name, x in varied.items():
        start = -x[:, 0, 0]  # the time that now stands first
        shift[name] = torch.where(start < -0.5, start + 1, start)
        torch.testing.assert_close(x, roll(inputs[name], (shift[name] * len(time[name])).round().long()))
    assert (shift["fast"] - shift["slow"]).abs().max() <= 0.5 / 200 + 0.5 / 50 + 1e-6
    assert shift["fast"].abs().max() <= 0.25 + 1e-6
    assert shift["fast"].min() < -0.23
    assert shift["fast"].max() > 0.23
    assert shift["fast"].std() == pytest.approx(0.25 / 3**0.5, rel=0.1)


def test_channel_dropout_zeroes_whole_channels():
    dropped = SignalAugmentation(channel_dropout=0.3)(signals(), SEED)
    for x in dropped.values():
        zero = (x == 0).all(-1)
        assert torch.equal(zero, (x == 0).any(-1))
        assert zero.double().mean() == pytest.approx(0.3, abs=4 * (0.21 / zero.numel()) ** 0.5)


def test_the_same_seed_gives_the_same_bits_and_any_other_number_does_not():
    augmentation, inputs = SignalAugmentation(0.1, 0.1, 0.2, 0.1), signals()
    first = augmentation(inputs, SEED)
    torch.rand(5)  # the global generator plays no part
    assert all(torch.equal(x, first[name]) for name, x in augmentation(inputs, SEED).items())
    for other in ((4, 1, 4), (3, 0, 4), (3, 1, 5)):
        assert not any(torch.equal(x, first[name]) for name, x in augmentation(inputs, other).items())
    state = torch.get_rng_state()
    augmentation(inputs, SEED)
    assert torch.equal(torch.get_rng_state(), state)


def test_only_the_chosen_modalities_are_varied_and_the_others_may_be_anything():
    inputs = {**signals(acc=(3, 16)), "image": torch.rand(400, 3, 8, 8)}
    augmentation = SignalAugmentation(jitter=0.1, time_shift=0.2, modalities=["acc"])
    augmentation.check({"acc": (3, 16), "image": (3, 8, 8)}, CLASSES, {})
    varied = augmentation(inputs, SEED)
    assert torch.equal(varied["image"], inputs["image"])
    assert not torch.equal(varied["acc"], inputs["acc"])


def test_signals_alone_are_varied_unless_others_are_named():
    inputs = {**signals(acc=(3, 16)), "image": torch.rand(400, 3, 8, 8), "text": torch.rand(400, 5, 16)}
    augmentation = SignalAugmentation(jitter=0.1, time_shift=0.2)
    kinds = {"acc": (3, 16), "image": (3, 8, 8), "text": ModalitySpec((5, 16), "sequence")}
    augmentation.check(kinds, CLASSES, {})
    varied = augmentation(inputs, SEED)
    assert [name for name, x in varied.items() if not torch.equal(x, inputs[name])] == ["acc"]


def test_what_an_absent_sample_holds_reaches_no_other():
    inputs = signals(8, acc=(3, 16))
    varied = SignalAugmentation(0.1, 0.1, 0.2, 0.1, rotation=90)(inputs, SEED)["acc"]
    inputs["acc"][2] = torch.nan
    with_nan = SignalAugmentation(0.1, 0.1, 0.2, 0.1, rotation=90)(inputs, SEED)["acc"]
    others = [0, 1, 3, 4, 5, 6, 7]
    assert torch.equal(varied[others], with_nan[others])


def test_rotation_turns_all_triaxial_sensors_of_a_sample_together():
    inputs = signals(acc=(3, 20), gyro=(3, 10), temperature=(1, 5), imu=(6, 10))
    names = {"acc": (3, 20), "gyro": (3, 10), "temperature": (1, 5), "imu": (6, 10)}
    augmentation = SignalAugmentation(rotation=180, rotated=["imu", "gyro", "acc"])
    augmentation.check(names, CLASSES, {})
    varied = augmentation(inputs, SEED)
    assert torch.equal(varied["temperature"], inputs["temperature"])

    def axes(x):
        return torch.cat((x["acc"], x["gyro"], x["imu"][:, :3], x["imu"][:, 3:]), -1)

    # The Gram matrix has all lengths and all angles between times and sensors, and only rotations keep it.
    torch.testing.assert_close(axes(varied).mT @ axes(varied), axes(inputs).mT @ axes(inputs), rtol=1e-4, atol=1e-3)
    before, after = axes(inputs)[:, :, :3].mT, axes(varied)[:, :, :3].mT
    assert (before.det() * after.det() > 0).all(), "no reflections"
    assert not torch.isclose(axes(varied), axes(inputs)).all(2).any()


def test_by_default_modalities_of_three_channels_rotate():
    inputs = signals(8, acc=(3, 20), gyro=(2, 10), gravity=(3, 20))
    varied = SignalAugmentation(rotation=30)(inputs, SEED)
    assert {name for name, x in varied.items() if torch.equal(x, inputs[name])} == {"gyro"}
    only = SignalAugmentation(rotation=30, modalities=["gravity", "gyro"])(inputs, SEED)
    assert {name for name, x in only.items() if torch.equal(x, inputs[name])} == {"acc", "gyro"}
    assert torch.equal(only["gravity"], varied["gravity"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rotation": 9}, r"three channels for `rotation`, but .* are {'ecg': 1, 'pair': 2}\. Group x, y, z"),
        (
            {"rotation": 9, "rotated": ["acc"]},
            r"augmented modalities, some of \['ecg', 'pair'\], but got \['acc'\]",
        ),
        ({"rotation": 9, "rotated": ["pair"]}, r"sensors with channels x, y, z, but got modalities with {'pair': 2}"),
    ],
)
def test_what_has_no_axes_cannot_rotate(options, message):
    with pytest.raises(ConfigError, match=message):
        SignalAugmentation(**options).check({"ecg": (1, 9), "pair": (2, 9)}, CLASSES, {})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"jitter": -0.1}, r"`jitter` and `scale` to be finite and >= 0, but got jitter=-0\.1 and scale=0\.0"),
        ({"scale": float("nan")}, r"`scale` to be finite and >= 0, but got jitter=0\.0 and scale=nan"),
        (
            {"time_shift": 10},
            r"`time_shift` to be a fraction of the window from 0 to 0\.5, but got 10\. Divide .*seconds",
        ),
        ({"channel_dropout": 1.0}, r"`channel_dropout` to be a probability below 1, but got 1\.0"),
        ({"rotation": 181}, r"`rotation` to be an angle from 0 to 180 degrees, but got 181"),
    ],
)
def test_numbers_out_of_range_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        SignalAugmentation(**options)


def test_what_cannot_be_varied_is_refused_by_name():
    with pytest.raises(
        ConfigError, match=r"signals \(channels, time\) for SignalAugmentation, but got {'text': \('vector', \(32,\)\)}"
    ):
        SignalAugmentation(modalities=["acc", "text"]).check({"acc": (3, 16), "text": (32,)}, CLASSES, {})
    with pytest.raises(ConfigError, match=r"got {'text': \('vector', \(32,\)\)}.*use FrameAugmentation"):
        SignalAugmentation().check({"text": (32,)}, CLASSES, {})
    with pytest.raises(ConfigError, match=r"name modalities of the data, some of \['acc'\], but got \['gyro'\]"):
        SignalAugmentation(modalities=["gyro"]).check({"acc": (3, 16)}, CLASSES, {})


# In a trainer


class Recorder(LightningModule):
    """Keeps the batches that reach it, by stage."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.seen = {"train": [], "val": []}

    def training_step(self, batch):
        self.seen["train"].append(batch)
        return self.weight.sum()

    def validation_step(self, batch):
        self.seen["val"].append(batch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trained(planted, make_trainer, seed=7):
    seed_everything(seed, verbose=False)
    data, model = planted(size=48), Recorder()
    data.augmentation = SignalAugmentation(scale=0.1)
    make_trainer(max_epochs=2, num_sanity_val_steps=0).fit(model, data)
    return data, model.seen


def by_index(batches):
    return {
        (number // 3, int(i)): x
        for number, batch in enumerate(batches)
        for i, x in zip(batch["index"], batch["inputs"]["strong"], strict=True)
    }


def test_training_is_varied_anew_in_every_epoch_and_validation_never(planted, make_trainer):
    data, seen = trained(planted, make_trainer)
    clean = {split: data.dataset(split).inputs["strong"] for split in ("train", "val")}
    for batch in seen["val"]:
        assert torch.equal(batch["inputs"]["strong"], clean["val"][batch["index"] - 3000])
    varied = by_index(seen["train"])
    assert len(varied) == 2 * 48
    factors = torch.stack([(x / clean["train"][index]).mean(-1) for (_, index), x in varied.items()])
    assert len(factors.flatten().unique()) == factors.numel()  # no batch and no epoch repeats another's numbers
    assert torch.equal(data.dataset("train").inputs["strong"], clean["train"])


def test_two_runs_with_one_seed_are_equal_bit_for_bit_and_ranks_and_seeds_differ(planted, make_trainer, monkeypatch):
    first, again, other_seed = (by_index(trained(planted, make_trainer, seed)[1]["train"]) for seed in (7, 7, 8))
    assert first.keys() == again.keys()
    assert all(torch.equal(x, again[key]) for key, x in first.items())
    assert not any(torch.equal(x, other_seed[key]) for key, x in first.items())
    monkeypatch.setattr(Trainer, "global_rank", 1)
    other_rank = by_index(trained(planted, make_trainer)[1]["train"])
    assert first.keys() == other_rank.keys()
    assert not any(torch.equal(x, other_rank[key]) for key, x in first.items())
