import json

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser

from fusionlit.data import FileSplit, FoldSplit, FractionSplit, FusionDataModule, Group, OfficialSplit, SignalDataModule
from fusionlit.data.augment import SignalAugmentation
from fusionlit.data.signals import Channel, SignalReader, Windowing, Windows
from fusionlit.errors import ConfigError, DataError
from fusionlit.types import TargetSpec, shapes_of

N, T = 24, 16
NAMES = ["acc_x", "acc_y", "ecg"]
SPLITS = ("train", "val", "test")


def arrays(**changes):
    """Two classes, six groups of four windows."""
    x = np.random.default_rng(0).normal(size=(N, 3, T)).astype(np.float32)
    return {"X": x, "y": np.tile([0, 1], N // 2), "groups": np.repeat(np.arange(6), 4), "channels": NAMES, **changes}


@pytest.fixture
def make(tmp_path):
    """A data module of the arrays, after `setup`."""

    def run(values, setup=True, **options):
        np.savez(tmp_path / "set.npz", **values)
        data = SignalDataModule(tmp_path / "set.npz", **options)
        if setup:
            data.setup("fit")
        return data

    return run


def holes(*places):
    """The arrays with NaN in `(window, channel, slice of time)`."""
    values = arrays()
    for window, channel, time in places:
        values["X"][window, channel, time] = np.nan
    return values


def batches(data, split):
    loader = {"train": data.train_dataloader, "val": data.val_dataloader, "test": data.test_dataloader}[split]()
    return list(loader)


def test_sizes_are_known_once_constructed(make):
    data = make(arrays(), setup=False)
    assert shapes_of(data.modalities) == {"acc": (2, T), "ecg": (1, T)}
    assert data.target == TargetSpec("multiclass", 2, ("0", "1"))


def test_batches_hold_the_windows_of_their_split(make):
    values = arrays()
    data = make(values, modalities={"b": ["ecg", "acc_x"], "a": ["acc_y"]}, batch_size=5)
    seen = []
    for split in SPLITS:
        for batch in batches(data, split):
            index = batch["index"].numpy()
            np.testing.assert_array_equal(batch["inputs"]["b"], values["X"][index][:, [2, 0]])
            np.testing.assert_array_equal(batch["inputs"]["a"], values["X"][index][:, [1]])
            np.testing.assert_array_equal(batch["target"], values["y"][index])
            assert "presence" not in batch
            seen += index.tolist()
    assert sorted(seen) == list(range(N))


def test_no_group_is_on_two_sides(make):
    values = arrays()
    for fold in range(6):
        data = make(values, split=FoldSplit(6, fold))
        groups = [set(values["groups"][data.dataset(split).rows].tolist()) for split in SPLITS]
        assert set.union(*groups) == set(range(6))
        assert sum(map(len, groups)) == 6


def test_subjects_of_one_class_are_cut_by_class(make, seen_groups):
    values = arrays(y=np.repeat([0, 1, 0, 1, 0, 1], 4))
    for seed in range(10):
        data = make(values, split=(split := seen_groups(1 / 3, 1 / 3, 1 / 3, seed)))
        for name in SPLITS:
            assert sorted(values["y"][data.dataset(name).rows].tolist()) == [0] * 4 + [1] * 4
    assert [group.stratum for group in split.groups.values()] == [0, 1] * 3


def test_class_counts_are_those_of_training(make):
    values = arrays(y=np.array([0, 0, 0, 1] * 6))
    data = make(values, split=FractionSplit(0.5, 0.5, 0))
    assert data.class_counts().tolist() == [9, 3]
    assert make(values, binary=True, split=FractionSplit(0.5, 0.5, 0)).class_counts().tolist() == [9, 3]


def test_two_classes_may_be_one_logit(make):
    assert make(arrays(), binary=True).target == TargetSpec("binary", 1, ("0", "1"))
    with pytest.raises(ConfigError, match="Expected two classes for `binary`, but the data has 3: 0, 1, 2"):
        make(arrays(y=np.tile([0, 1, 2], N // 3)), binary=True)
    with pytest.raises(ConfigError, match="Expected at least two classes, but the data has 1: 0"):
        make(arrays(y=np.zeros(N, int)))


def test_a_sources_own_split_is_taken_unless_another_is_given(make):
    values = arrays()
    own = {f"{k}_train": values[k][:16] for k in ("X", "y", "groups")}
    own |= {f"{k}_test": values[k][16:] for k in ("X", "y", "groups")}
    data = make({**own, "channels": NAMES})
    assert data.dataset("test").rows.tolist() == list(range(16, 24))
    assert (len(data.dataset("train")), len(data.dataset("val"))) == (12, 4)
    other = make({**own, "channels": NAMES}, split=FractionSplit(0.5, 0.5, 0))
    assert len(other.dataset("train")) == 12
    with pytest.raises(ConfigError, match="Expected a source with an official split for OfficialSplit"):
        make(values, split=OfficialSplit())


def test_a_written_split_can_be_read(make, tmp_path):
    data = make(arrays(), write_split=tmp_path / "split.json")
    assert set(json.loads((tmp_path / "split.json").read_text())) == set(SPLITS)
    again = make(arrays(), split=FileSplit(tmp_path / "split.json"))
    for split in SPLITS:
        assert again.dataset(split).rows.tolist() == data.dataset(split).rows.tolist()


def test_an_empty_split_is_refused_with_what_there_is(make):
    data = make(arrays(), split=FractionSplit(0.5, 0.5, 0))
    with pytest.raises(ConfigError, match=r"The test split has no samples(.|\n)*train: 12 windows of 3 groups"):
        data.test_dataloader()


def test_a_random_split_over_overlapping_windows_is_refused(make):
    signal = np.random.default_rng(0).normal(size=(3, T // 2 * (N + 1))).astype(np.float32)
    x = np.stack([signal[:, T // 2 * i : T // 2 * i + T] for i in range(N)])
    values = {**arrays(X=x)}
    del values["groups"]
    with pytest.raises(
        DataError, match=r"share samples in the same split, .* share 8 of 16 samples(.|\n)*split by these groups"
    ):
        make(values)


def test_unused_windows_between_the_sides_do_not_hide_overlap(make, tmp_path):
    signal = np.random.default_rng(0).normal(size=(3, 2 * (N + 7))).astype(np.float32)
    x = np.stack([signal[:, 2 * i : 2 * i + T] for i in range(N)])
    lists = {"train": range(10), "val": range(11, 20), "test": range(21, N)}
    (tmp_path / "split.json").write_text(json.dumps({k: [str(i) for i in rows] for k, rows in lists.items()}))
    with pytest.raises(
        DataError, match="2 pairs are not: windows 9 and 11 share 12 of 16 samples, but are in train and val"
    ):
        make(arrays(X=x, groups=np.arange(N)), split=FileSplit(tmp_path / "split.json"))


def test_windows_that_train_and_test_have_in_common_are_told(make):
    x, y = arrays()["X"], arrays()["y"]
    with pytest.warns(UserWarning) as warned:  # noqa: PT030 (two texts, compared below)
        make({"X_train": x, "y_train": y, "X_test": x, "y_test": y})
    texts = [str(warning.message) for warning in warned]
    assert len(texts) == 2
    assert "set.npz: 19 of 24 windows of the test split are equal to windows of the train split" in texts[0]
    assert "set.npz: 5 of 24 windows of the test split are equal to windows of the val split" in texts[1]


def test_question_marks_in_ts_files_are_missing_values(tmp_path):
    x = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    rows = [",".join(map(str, row)) + f":{'ab'[i % 2]}" for i, row in enumerate(x)]
    rows[2] = f"{x[2, 0]},?,{x[2, 2]},{x[2, 3]}:a"
    (tmp_path / "set.ts").write_text("\n".join(["@classLabel true a b", "@data", *rows]))
    with pytest.raises(DataError, match=r"channel 'dim_0': 1 values in 1 windows \(the first is window 2, with 1"):
        SignalDataModule(tmp_path / "set.ts", split=FractionSplit(1, 0, 0)).setup("fit")
    options = {"split": FractionSplit(1, 0, 0), "on_missing": "interpolate", "max_gap": 1}
    data = SignalDataModule(tmp_path / "set.ts", **options)
    data.setup("fit")
    x[2, 1] = (x[2, 0] + x[2, 2]) / 2
    (batch,) = batches(data, "train")
    np.testing.assert_allclose(batch["inputs"]["dim_0"][:, 0], x[batch["index"]], rtol=1e-6)


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (holes((3, 1, 4)), {}, "channel 'acc_y': 1 values in 1 windows .the first is window 3, with 1"),
        (
            holes((3, 1, slice(4, 7))),
            {"on_missing": "interpolate", "max_gap": 2},
            r"longer than `max_gap` \(2 samples\):\n  channel 'acc_y': 3 values",
        ),
    ],
)
def test_missing_values_are_refused_unless_allowed(make, values, options, message):
    with pytest.raises(DataError, match=rf"set\.npz: values are missing.*(.|\n)*{message}"):
        make(values, **options)


def test_a_channel_that_is_not_used_may_lack_values(make):
    make(holes((3, 1, 4)), modalities={"ecg": ["ecg"]})


def test_short_gaps_are_interpolated(make):
    values = holes((3, 1, slice(4, 6)))
    data = make(values, on_missing="interpolate", max_gap=2, split=FractionSplit(1, 0, 0), batch_size=N)
    (batch,) = batches(data, "train")
    found = batch["inputs"]["acc"][batch["index"] == 3][0, 1, 3:7]
    before, after = values["X"][3, 1, 3], values["X"][3, 1, 6]
    np.testing.assert_allclose(found, np.linspace(before, after, 4), rtol=1e-6)


def test_modalities_with_gaps_are_absent_and_out_of_the_statistics(make):
    values = holes((3, 1, slice(4, 8)), (5, 1, 2), (7, 2, slice(None)))
    data = make(values, on_missing="mask", max_gap=1, split=FractionSplit(0.5, 0.5, 0), batch_size=5)
    there = {"acc": np.arange(N) != 3, "ecg": np.arange(N) != 7}
    for split in ("train", "val"):
        for batch in batches(data, split):
            for name, presence in there.items():
                assert batch["presence"][name].tolist() == presence[batch["index"]].tolist()
                assert torch.isfinite(batch["inputs"][name]).all()
    rows = data.dataset("train").rows.numpy()
    statistics = data.input_statistics()
    for name, channels in {"acc": [0], "ecg": [2]}.items():
        x = values["X"][rows[there[name][rows]]][:, channels].astype(np.float64)
        np.testing.assert_allclose(statistics[name].mean[: len(channels)], x.mean((0, 2)), atol=1e-6)
        np.testing.assert_allclose(statistics[name].std[: len(channels)], x.std((0, 2)), rtol=1e-6)


def test_windows_without_any_modality_are_left_out(make):
    with pytest.warns(UserWarning, match="Left out 1 windows"):
        data = make(holes((3, slice(None), 4)), on_missing="mask", split=FractionSplit(1, 0, 0))
    assert 3 not in data.dataset("train").rows.tolist()
    assert len(data.dataset("train")) == N - 1


def test_infinite_values_stuck_and_repeated_channels_are_named(make):
    x = arrays()["X"]
    x[:, 1] = x[:, 0]
    x[:, 2] = 4
    with pytest.warns(UserWarning) as warned:  # noqa: PT030 (two texts, compared below)
        make(arrays(X=x))
    texts = [str(warning.message) for warning in warned]
    assert any("channels 'acc_x' and 'acc_y' are equal" in text for text in texts)
    assert any("channel 'ecg' is 4 in every sample" in text for text in texts)
    x[1, 0, 1] = np.inf
    with pytest.raises(DataError, match="'acc_x' has 1 infinite"):
        make(arrays(X=x))


def test_a_class_that_is_never_trained_on_is_refused_and_leaves_nothing_half_done(make):
    values = arrays(y=np.array([1] * 4 + [0] * 20))
    groups = {name: Group(stratum=int(name == "0")) for name in "012345"}
    held = next(fold for fold in range(6) if "0" in FoldSplit(6, fold).assign(groups)["test"])
    data = make(values, setup=False, split=FoldSplit(6, held))
    for _ in range(2):
        with pytest.raises(DataError, match=r"the train split \(\d+ samples\) has no samples of these classes: 1\. "):
            data.setup("fit")


def test_the_description_tells_channels_units_rates_and_splits(make):
    data = make(arrays(rate=8.0, units=["g", "g", "mV"]), split=FractionSplit(0.5, 0.5, 0))
    lines = data.description.splitlines()
    assert lines[0].endswith("set.npz: 24 windows of 6 groups")
    assert lines[1:4] == [
        "  classes: 0 0, 1 1",
        "  acc: 16 samples at 8 Hz (2 s): acc_x (g), acc_y (g)",
        "  ecg: 16 samples at 8 Hz (2 s): ecg (mV)",
    ]
    assert lines[4].startswith("  train: 12 windows of 3 groups (")
    assert lines[6] == "  test: 0 windows of 0 groups"


def test_files_that_change_after_construction_are_noticed(make, tmp_path):
    data = make(arrays(), setup=False)
    np.savez(tmp_path / "set.npz", **arrays(X=arrays()["X"][..., :8]))
    with pytest.raises(DataError, match=r"as in the header, but .* If the files have changed, start again"):
        data.setup("fit")


def test_recordings_are_cut_and_their_rates_kept(tmp_path):
    for name, label in (("a", "walk"), ("b", "run"), ("c", "walk"), ("d", "run")):
        rng = np.random.default_rng(ord(name))
        rows = [f"{i / 100},{rng.normal()},{rng.normal() if i % 2 == 0 else ''},{label}" for i in range(400)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["time,acc [g],ecg [mV],label", *rows]))
    data = SignalDataModule(tmp_path, windowing=Windowing(0.5, "seconds"), split=FractionSplit(0.5, 0.5, 0, seed=2))
    assert shapes_of(data.modalities) == {"acc": (1, 50), "ecg": (1, 25)}
    assert data.target.names == ("run", "walk")
    data.setup("fit")
    assert "ecg: 25 samples at 50 Hz (0.5 s): ecg (mV)" in data.description
    assert data.class_counts().sum() == len(data.dataset("train")) == 2 * 8


def test_windows_that_were_left_out_are_told(tmp_path):
    for name in "abcd":
        rng = np.random.default_rng(ord(name))
        rows = [f"{i / 100},{rng.normal()},{'walk' if i < 225 else 'run'}" for i in range(400)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["time,acc,label", *rows]))
    data = SignalDataModule(tmp_path, windowing=Windowing(0.5, "seconds"), split=FractionSplit(0.5, 0.5, 0))
    with pytest.raises(ConfigError, match="call `setup` first"):
        data.train_dataloader()
    data.setup("fit")
    assert "left out: 4 label changes" in data.description


def test_augmentation_varies_training_batches_alone(make, make_trainer):
    data = make(arrays(), augmentation=SignalAugmentation(jitter=0.1), split=FractionSplit(0.5, 0.5, 0))
    plain = make(arrays(), split=FractionSplit(0.5, 0.5, 0))
    for name, statistics in data.input_statistics().items():
        assert torch.equal(statistics.mean, plain.input_statistics()[name].mean)
    data.trainer = make_trainer()
    (batch,) = batches(data, "val")
    for training in (True, False):
        data.trainer.training = training
        after = data.on_after_batch_transfer(batch, 0)
        assert torch.equal(after["inputs"]["acc"], batch["inputs"]["acc"]) is not training


def test_augmentation_of_what_is_not_there_is_refused(make):
    with pytest.raises(ConfigError, match=r"`modalities` of SignalAugmentation .* but got \['gyro'\]"):
        make(arrays(), augmentation=SignalAugmentation(jitter=0.1, modalities=["gyro"]))


class Sines(SignalReader):
    """A reader of one's own."""

    def header(self, root, modalities=None):
        return self.read(root, modalities).header

    def read(self, root, modalities=None):
        values = np.sin(np.outer(np.arange(1, 9), np.arange(T))).astype(np.float32)
        group = np.array([str(i) for i in range(8)])
        return Windows({"sine": Channel(values)}, np.arange(8) % 2, ("even", "odd"), group)


def test_a_reader_of_ones_own_is_used(tmp_path):
    data = SignalDataModule(tmp_path, reader=Sines(), split=FractionSplit(1, 0, 0))
    data.setup("fit")
    assert shapes_of(data.modalities) == {"sine": (1, T)}
    assert data.target.names == ("even", "odd")


def test_yaml_chooses_modalities_split_and_reader(uci_har):
    root, _ = uci_har
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(FusionDataModule, "data")
    arguments = ["--data=SignalDataModule", f"--data.root={root}", '--data.modalities={"acc": ["body_acc_z"]}']
    arguments += ["--data.split=OfficialSplit", "--data.split.val=0.5", "--data.reader=UCIHARReader"]
    data = parser.instantiate_classes(parser.parse_args(arguments)).data
    data.setup("fit")
    assert shapes_of(data.modalities) == {"acc": (1, 16)}
    assert [len(data.dataset(split)) for split in SPLITS] == [24, 24, 24]


def test_a_channel_that_is_not_there_is_refused_at_once(uci_har):
    root, _ = uci_har
    with pytest.raises(ConfigError, match=r"'acc' names 'body_acc_q'\. Did you mean 'body_acc_"):
        SignalDataModule(root, modalities={"acc": ["body_acc_q"]})
