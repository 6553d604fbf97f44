"""Fingerprints of configurations, data and splits: equal for the same, another for a change."""

import numpy as np
import pytest

from fusionlit.compare.origin import canonical, digest, look_at
from fusionlit.data import ArrayDataModule, FractionSplit, ReplicatorDataModule
from fusionlit.synthetic import render


def test_a_configuration_has_neither_seed_nor_places_of_outputs():
    config = {
        "seed_everything": 3,
        "data": {"init_args": {"root": "frames", "pack": "packed", "write_split": "s.json"}},
        "trainer": {
            "logger": {"class_path": "CSVLogger", "init_args": {"save_dir": "a"}},
            "default_root_dir": "a",
            "callbacks": [{"class_path": "ModelCheckpoint", "init_args": {"dirpath": "a", "monitor": "val/loss"}}],
        },
    }
    callbacks = [{"class_path": "ModelCheckpoint", "init_args": {"monitor": "val/loss"}}]
    assert canonical(config) == {"data": {"init_args": {"root": "frames"}}, "trainer": {"callbacks": callbacks}}
    model = {"init_args": {"encoders": {"pack": {"class_path": "MLPEncoder"}}}}  # of a modality called pack
    assert canonical({"model": model}) == {"model": model}
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1}) != digest({"a": 1, "b": [3]})


@pytest.fixture
def arrays(tmp_path):
    def make(**changes):
        rng = np.random.default_rng(0)
        values = {"a": rng.normal(size=(60, 3)), "b": rng.normal(size=(60, 4)), "target": np.arange(60) % 2}
        for name, (row, value) in changes.items():
            values[name][row] = value
        np.savez(tmp_path / "arrays.npz", **values)
        return tmp_path / "arrays.npz"

    return make


def test_arrays(arrays):
    first = look_at(ArrayDataModule(arrays()))
    assert look_at(ArrayDataModule(arrays())) == first
    assert look_at(ArrayDataModule(arrays(), batch_size=7)) == first
    other_value = look_at(ArrayDataModule(arrays(a=(11, 9.0))))
    assert other_value[0] != first[0]
    assert other_value[1] == first[1]
    other_split = look_at(ArrayDataModule(arrays(), split=FractionSplit(seed=1)))
    assert other_split[0] == first[0]
    assert other_split[1] != first[1]
    assert look_at(ArrayDataModule(arrays(), modalities=["b"]))[0] != first[0]


def test_packed_frames_are_the_same_wherever_they_lie_and_other_ones_are_not(tmp_path):
    for name, seed in (("first", 0), ("second", 0), ("other", 1)):
        render(tmp_path / name, frames=12, seed=seed)
    first, second, other = (look_at(ReplicatorDataModule(tmp_path / name)) for name in ("first", "second", "other"))
    assert first == second
    assert other[0] != first[0]
    assert other[1] == first[1]


def test_data_modules_of_other_kinds(planted):
    first, larger = look_at(planted()), look_at(planted(size=65))
    assert look_at(planted()) == first
    assert larger[0] != first[0]
    assert larger[1] != first[1]
