"""Input statistics: those of the training split, and, once kept beside a pack, the very same."""

import json
import os
import shutil

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from fusionlit.data import ArrayDataModule, FractionSplit, ReplicatorDataModule, SignalDataModule, base
from fusionlit.data import statistics as statistics_module
from fusionlit.data.signals import Channel, Difference, Magnitude, SignalReader, Windows
from fusionlit.errors import DataError


def test_input_statistics_are_those_of_the_training_split(planted):
    data = planted(size=50, batch_size=16)
    statistics = data.input_statistics()
    for name, x in data.dataset("train").inputs.items():
        torch.testing.assert_close(statistics[name].mean, x.mean((0, 2)))
        torch.testing.assert_close(statistics[name].std, x.std((0, 2), correction=0))


def test_input_statistics_pass_over_absent_samples(planted):
    data = planted(size=50, presence=True)
    there = torch.arange(50) % 3 != 0
    x = data.dataset("train").inputs["noise"][there]
    statistics = data.input_statistics()["noise"]
    torch.testing.assert_close(statistics.mean, x.mean((0, 2)))
    torch.testing.assert_close(statistics.std, x.std((0, 2), correction=0))


def test_what_presence_does_not_name_is_always_there(planted):
    class OnlyNoise(planted):
        def convert(self, batch):
            batch = super().convert(batch)
            return {**batch, "presence": {"noise": batch["presence"]["noise"]}}

    both, one = planted(presence=True).input_statistics(), OnlyNoise(presence=True).input_statistics()
    torch.testing.assert_close(one, both)


def test_tokens_that_some_samples_lack_have_no_statistics_and_do_no_harm(tmp_path):
    x, there = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 3 > 0
    tokens = {"text": np.zeros((20, 5), np.int64), "presence_text": there}
    np.savez(tmp_path / "a.npz", x=x, target=np.arange(20) % 2, **tokens)
    data = ArrayDataModule(tmp_path / "a.npz", kinds={"text": "tokens"})
    data.setup("fit")
    assert list(data.input_statistics()) == ["x"]


def test_a_modality_that_is_never_there_is_refused(planted):
    data = planted(size=1, presence=True)
    with pytest.raises(DataError, match=r"training samples with each modality, but none have \['noise'\]"):
        data.input_statistics()


def test_an_absent_sample_may_be_anything_and_one_that_is_there_must_be_finite(planted):
    class OneLost(planted):
        def convert(self, batch):
            batch = super().convert(batch)
            batch["inputs"]["strong"][batch["index"] == 21, 1, 2] = torch.inf
            return batch

    assert all(torch.isfinite(planted(presence=True).input_statistics()["noise"].mean))
    with pytest.raises(DataError, match=r"'strong' to be finite in every training sample, but samples \[21\]"):
        OneLost(presence=True).input_statistics()


# Kept beside the pack


def frames(root, **options):
    data = ReplicatorDataModule(root, **{"batch_size": 8, **options})
    data.setup("fit")
    return data


def windows(root, **options):
    data = SignalDataModule(root / "set.npz", **{"split": FractionSplit(0.5, 0.5, 0), "batch_size": 5, **options})
    data.setup("fit")
    return data


@pytest.fixture
def shape_root(rendered, tmp_path):
    """As it was rendered: other tests may have packed the shared one, and left statistics there."""
    return shutil.copytree(rendered / "shape", tmp_path / "shape", ignore=shutil.ignore_patterns(".fusionlit"))


@pytest.fixture
def signals(tmp_path):
    """A folder with windows, of which some lack values."""
    x = np.random.default_rng(0).normal(size=(24, 3, 16)).astype(np.float32)
    x[3, 1, 4:8] = x[5, 1, 2] = x[7, 2] = np.nan
    names = {"channels": ["acc_x", "acc_y", "ecg"], "groups": np.repeat(np.arange(6), 4)}
    np.savez(tmp_path / "set.npz", X=x, y=np.tile([0, 1], 12), **names)
    return tmp_path


@pytest.fixture
def computed(monkeypatch):
    """How often statistics were computed, one entry each."""
    times, compute = [], base.channel_statistics
    monkeypatch.setattr(base, "channel_statistics", lambda *args: times.append(1) or compute(*args))
    return times


def numbers(statistics):
    return {name: [x.numpy().tobytes() for x in both] for name, both in statistics.items()}


def from_anew(data):
    """As they are computed, whatever is kept."""
    return numbers(data._computed_statistics(0))


@pytest.mark.parametrize("make", [frames, windows])
def test_they_are_computed_once_and_are_the_same_bit_for_bit(make, request, computed):
    root = request.getfixturevalue({frames: "shape_root", windows: "signals"}[make])
    options = {} if make is frames else {"on_missing": "mask", "max_gap": 1, "derived": {"m": Magnitude("acc")}}
    first = make(root, **options).input_statistics()
    again = make(root, **options)
    torch.set_default_dtype(torch.float64)  # as under the precision 64-true
    try:
        second = again.input_statistics()
    finally:
        torch.set_default_dtype(torch.float32)
    assert len(computed) == 1
    assert numbers(second) == numbers(first) == from_anew(make(root, **options))
    assert all(x.dtype == torch.float32 for both in second.values() for x in both)


def test_what_follows_draws_the_same_random_numbers(shape_root):
    drawn = []
    for _ in range(2):
        data = frames(shape_root)
        torch.manual_seed(7)
        data.input_statistics()
        drawn.append(torch.rand(4).tolist())
    torch.manual_seed(7)
    iter(DataLoader([0]))  # what computing them without a file draws
    assert drawn == [torch.rand(4).tolist()] * 2


def rewrite(root):
    path = next((root / "cubes/lidar").glob("*.npy"))
    np.save(path, np.load(path) / 2)


def turn_angles(root):
    for folder in ("cubes", "spheres"):  # not packed, and of the same size as before
        np.save(root / folder / "azimuth.npy", np.load(root / folder / "azimuth.npy") / 2)


def drop(root):
    for name in ("rgb/0004.png", "lidar/0004.npy"):
        (root / "cubes" / name).unlink()


@pytest.mark.parametrize("change", [rewrite, turn_angles, drop])
@pytest.mark.filterwarnings("ignore:.*cubes. 1 of 20 frames .* are missing")
def test_changed_files_have_statistics_of_their_own(shape_root, computed, change):
    before = frames(shape_root, split=FractionSplit(0.9, 0.1, 0)).input_statistics()
    change(shape_root)
    data = frames(shape_root, split=FractionSplit(0.9, 0.1, 0))
    after = data.input_statistics()
    assert len(computed) == 2
    assert numbers(after) == from_anew(data) != numbers(before)


@pytest.mark.parametrize(
    "options",
    [{"orientation": "raw"}, {"split": FractionSplit(seed=9)}, {"batch_size": 7}],
)
def test_other_frames_and_another_orientation_have_statistics_of_their_own(shape_root, computed, options):
    frames(shape_root).input_statistics()
    data = frames(shape_root, **options)
    assert numbers(data.input_statistics()) == numbers(data._computed_statistics(0))
    assert data.statistics_file() != frames(shape_root).statistics_file()
    assert len(computed) == 3  # of which one is for the comparison


def test_targets_do_not_matter(shape_root, computed):
    for binary in (False, True):
        frames(shape_root, binary=binary).input_statistics()
    assert len(computed) == 1


RECIPES = [
    {"on_missing": "mask"},
    {"on_missing": "mask", "max_gap": 1},
    {"on_missing": "mask", "max_gap": 4},
    {"on_missing": "interpolate", "max_gap": 16, "modalities": {"acc": ["acc_x", "acc_y"]}},
    {"on_missing": "mask", "max_gap": 16, "modalities": {"acc": ["acc_x", "acc_y"]}},
    {"on_missing": "mask", "keep": ["ecg"]},
    {"on_missing": "mask", "keep": ["ecg", "acc"]},
    {"on_missing": "mask", "derived": {"m": Magnitude("acc")}},
    {"on_missing": "mask", "derived": {"m": Magnitude("ecg")}},
    {"on_missing": "mask", "derived": {"m": Difference("ecg", "ecg")}},
    {"on_missing": "mask", "modalities": {"a": ["acc_y"], "b": ["acc_x"]}},
]


@pytest.mark.filterwarnings("ignore:Left out 1 windows")
def test_other_windows_have_statistics_of_their_own(signals, computed):
    for recipe in RECIPES:
        data = windows(signals, **recipe)
        assert numbers(data.input_statistics()) == from_anew(data)
    assert len({windows(signals, **recipe).statistics_file() for recipe in RECIPES}) == len(RECIPES)


def test_what_is_changed_after_setup_names_no_other_statistics(signals):
    data = windows(signals, on_missing="mask")
    before = data.statistics_file()
    data.max_gap = 4
    assert data.statistics_file() == before


@pytest.mark.parametrize("what", ["threads", "torch", "code"])
def test_another_machine_version_or_code_has_statistics_of_its_own(shape_root, monkeypatch, what):
    data = frames(shape_root)
    before = data.statistics_file()
    if what == "threads":
        monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    elif what == "torch":
        monkeypatch.setattr(torch, "__version__", "0")
    else:
        monkeypatch.setattr(statistics_module, "_code", lambda: "other")
    assert data.statistics_file() != before


def test_the_code_that_counts_is_all_of_the_package(tmp_path, monkeypatch):
    (tmp_path / "fusionlit/data").mkdir(parents=True)
    (tmp_path / "fusionlit/geometry.py").write_text("a")
    monkeypatch.setattr(statistics_module, "__file__", str(tmp_path / "fusionlit/data/statistics.py"))
    digests = [statistics_module._code.__wrapped__()]
    (tmp_path / "fusionlit/geometry.py").write_text("b")
    assert statistics_module._code.__wrapped__() not in digests


def cut_off(file, other):
    file.write_bytes(file.read_bytes()[:-9])


def flip(file, other):
    read = json.loads(file.read_text())
    read["statistics"]["rgb"][0][0] += 1e-6
    file.write_text(json.dumps(read))


def replace_whole(file, other):
    file.write_text("[1, 2]")


def no_text(file, other):
    file.write_bytes(b"\xff\xfe\x00")


def of_another_split(file, other):
    shutil.copy(other, file)


@pytest.mark.parametrize("damage", [cut_off, flip, replace_whole, no_text, of_another_split])
def test_a_damaged_file_is_computed_and_written_again(shape_root, computed, damage):
    other = frames(shape_root, split=FractionSplit(seed=9))
    other.input_statistics()
    data = frames(shape_root)
    expected = numbers(data.input_statistics())
    file, whole = data.statistics_file(), data.statistics_file().read_bytes()
    damage(file, other.statistics_file())
    assert file.read_bytes() != whole
    assert numbers(frames(shape_root).input_statistics()) == expected
    assert len(computed) == 3
    assert file.read_bytes() == whole


def test_a_folder_that_cannot_be_written_is_no_error_and_nothing_half_written_stays(shape_root, computed, monkeypatch):
    def refuse(descriptor):
        raise OSError(30, "Read-only file system")

    data = frames(shape_root)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        statistics = data.input_statistics()
    assert numbers(statistics) == from_anew(data)
    assert not list(data.statistics_file().parent.glob("statistics*"))
    assert len(computed) == 2


def test_statistics_that_are_refused_are_not_kept(shape_root, monkeypatch):
    data = frames(shape_root)
    monkeypatch.setattr(type(data), "modalities", {"rgb": (4, 1, 1)})
    with pytest.raises(DataError, match="Expected `inputs` of 'rgb'"):
        data.input_statistics()
    assert not list(data._samples.pack.folder.glob("statistics*"))


# Where nobody knows what they depend on


class OwnConvert(ReplicatorDataModule):
    def convert(self, batch):
        batch = super().convert(batch)
        return {**batch, "inputs": {name: 2 * x for name, x in batch["inputs"].items()}}


class OwnDerived(Magnitude):
    """May compute anything."""


class OwnReader(SignalReader):
    """Says nothing of its files, so nothing is packed."""

    def header(self, root, modalities=None):
        return self.read(root, modalities).header

    def read(self, root, modalities=None):
        values = np.random.default_rng(0).normal(size=(8, 9)).astype(np.float32)
        return Windows({"a": Channel(values)}, np.arange(8) % 2, ("x", "y"), np.array([str(i) for i in range(8)]))


def test_a_conversion_of_ones_own_is_always_computed(shape_root, computed):
    ours = frames(shape_root).input_statistics()
    for _ in range(2):
        data = OwnConvert(shape_root, batch_size=8)
        data.setup("fit")
        assert data.statistics_file() is None
        assert torch.equal(data.input_statistics()["rgb"].mean, 2 * ours["rgb"].mean)
    assert len(computed) == 3


def test_a_derived_signal_of_ones_own_a_reader_without_origin_and_mapped_arrays_are_always_computed(signals, tmp_path):
    derived = windows(signals, on_missing="mask", derived={"m": OwnDerived("acc")})
    reader = SignalDataModule(tmp_path, reader=OwnReader(), split=FractionSplit(0.5, 0.5, 0))
    np.savez(tmp_path / "arrays.npz", x=np.zeros((20, 3)), target=np.arange(20) % 2)
    arrays = ArrayDataModule(tmp_path / "arrays.npz")
    for data in (derived, reader, arrays):
        data.setup("fit")
        assert data.statistics_file() is None
        data.input_statistics()
