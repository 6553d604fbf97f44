"""Data modules of one data set, and what their epochs contain."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from fusionlit.data import FusionDataModule
from fusionlit.testing.cases import name_of, reseed
from fusionlit.types import SPLITS, Batch, Split


@dataclass(frozen=True)
class DataCase:
    """Data modules of one data set."""

    make: Callable[[], FusionDataModule]

    def __str__(self) -> str:
        return name_of(self.make)

    def ready(self) -> FusionDataModule:
        """A new data module after `setup`."""
        data = self.make()
        data.prepare_data()
        data.setup("fit")
        return data


def splits_of(data: FusionDataModule) -> list[Split]:
    """The splits that there are."""
    return [split for split in SPLITS if split != "val" or data.validates]


def batches(data: FusionDataModule, split: Split, seed: int = 0) -> list[Batch]:
    """An epoch of converted batches."""
    reseed(seed)
    loader = {"train": data.train_dataloader, "val": data.val_dataloader, "test": data.test_dataloader}[split]()
    assert isinstance(loader, DataLoader)
    return [data.on_after_batch_transfer(batch, 0) for batch in loader]


def order(data: FusionDataModule, split: Split, seed: int = 0) -> list[int]:
    """The index of each sample of an epoch, as they come."""
    return [int(index) for batch in batches(data, split, seed) for index in batch["index"]]


def differing(first: object, second: object) -> str | None:
    """Name of the first part of two batches that differs, or None."""
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        if first.keys() != second.keys():
            return f"{sorted(first.keys() ^ second.keys())}"
        pairs = ((key, differing(first[key], second[key])) for key in first)
        return next((f"{key}.{part}".rstrip(".") for key, part in pairs if part is not None), None)
    assert isinstance(first, Tensor)
    assert isinstance(second, Tensor)
    same = first.dtype == second.dtype and first.shape == second.shape
    return None if same and torch.allclose(first, second, rtol=0, atol=0, equal_nan=True) else ""


def compare(one: FusionDataModule, other: FusionDataModule) -> str | None:
    """What differs between an epoch of one data module and one of another, or None."""
    for split in splits_of(one):
        first, second = batches(one, split), batches(other, split)
        if len(first) != len(second):
            return f"{len(first)} and {len(second)} batches of {split}"
        for a, b in zip(first, second, strict=True):
            if (part := differing(a, b)) is not None:
                return f"`{part}` of {split}"
    return None


def repeats_validation(data: FusionDataModule) -> bool:
    """Whether the test split is that of validation."""
    return bool(getattr(getattr(data, "split", None), "test_on_validation", False))
