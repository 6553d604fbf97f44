"""A data set on the device gives the batches that its files give, and only numbers travel."""

from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch
from lightning import seed_everything
from torch.testing import assert_close

from fusionlit.data import ArrayDataModule, FractionSplit, ReplicatorDataModule, SignalDataModule
from fusionlit.data.array_dataset import ArrayDataset
from fusionlit.errors import ConfigError
from fusionlit.models import IntermediateFusion


@pytest.fixture
def make(request, tmp_path):
    rng = np.random.default_rng(0)
    values = {"a": rng.normal(size=(60, 5)), "b": rng.integers(0, 255, (60, 2, 8)).astype(np.uint8)}
    np.savez(tmp_path / "data.npz", **values, presence_b=rng.random(60) < 0.7, target=rng.integers(0, 2, 60))

    def array(**options):
        return ArrayDataModule(tmp_path / "data.npz", split=FractionSplit(0.5, 0.25, 0.25), batch_size=7, **options)

    makers = {
        "array": array,
        "replicator": lambda **o: ReplicatorDataModule(request.getfixturevalue("shapes"), batch_size=8, **o),
        "signals": lambda **o: SignalDataModule(request.getfixturevalue("uci_har_folder"), batch_size=8, **o),
    }
    return makers[request.param]


KINDS = pytest.mark.parametrize("make", ["array", "replicator", "signals"], indirect=True)


def batches(data, split):
    seed_everything(0, verbose=False)
    loader = {"train": data.train_dataloader, "val": data.val_dataloader, "test": data.test_dataloader}[split]()
    return [(raw, data.on_after_batch_transfer(raw, 0)) for raw in loader]


@KINDS
def test_batches_are_those_of_the_files(make):
    plain, cached = make(), make(cache_on_device=True)
    for data in (plain, cached):
        data.setup("fit")
    for split in ("train", "val", "test"):
        found = batches(cached, split)
        for (_, expected), (raw, batch) in zip(batches(plain, split), found, strict=True):
            assert raw["inputs"] == {}
            assert "presence" not in raw
            assert_close(batch, expected, rtol=0, atol=0)


@KINDS
def test_training_is_the_same(make, make_trainer):
    states = []
    for cached in (False, True):
        seed_everything(0, verbose=False)
        data = make(cache_on_device=cached)
        model = IntermediateFusion(data.modalities, data.target)
        trainer = make_trainer(max_epochs=1)
        trainer.fit(model, datamodule=data)
        trainer.test(model, datamodule=data, verbose=False)
        states.append(model.state_dict())
    assert_close(*states, rtol=0, atol=0)


@pytest.mark.parametrize("make", ["array"], indirect=True)
def test_a_data_set_that_does_not_fit_is_refused(make, monkeypatch):
    data = make(cache_on_device=True)
    data.setup("fit")
    needed = 60 * (5 * 8 + 2 * 8)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=needed / 0.81))
    with pytest.raises(ConfigError, match=r"at most 80% of the free memory of cpu, 4.15e-06 GB, but it needs 3.36e-06"):
        batches(data, "val")
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=needed / 0.79))
    assert_close(batches(data, "val")[0][1]["inputs"]["a"].shape, torch.Size([7, 5]))


def test_other_data_sets_are_refused(planted):
    data = planted()
    data.cache_on_device = True
    with pytest.raises(
        ConfigError, match="data sets of type ArrayDataset for `cache_on_device`, but PlantedData has Pl"
    ):
        data.train_dataloader()


class Crops(ArrayDataset):
    """Makes other samples of its arrays."""


@pytest.mark.parametrize(
    ("kind", "message"), [(ArrayDataset, "has other arrays for 'val'"), (Crops, "has Crops. Leave")]
)
def test_splits_of_other_arrays_are_refused(planted, kind, message):
    """What is gathered by number would be samples of another split."""

    class Separate(planted):
        def dataset(self, split):
            value = {"train": 1.0, "val": 2.0, "test": 3.0}[split]
            inputs = {name: np.full((8, 3, 16), value, np.float32) for name in ("strong", "noise")}
            return kind(inputs, torch.zeros(8, dtype=torch.long), {}, torch.arange(8))

    data = Separate()
    data.cache_on_device = True
    with pytest.raises(ConfigError, match=message):
        (data.train_dataloader(), data.val_dataloader())
