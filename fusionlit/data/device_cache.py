"""A whole data set in device memory: only sample numbers and targets are transferred."""

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from fusionlit.console import progress
from fusionlit.data.array_dataset import ArrayDataset
from fusionlit.errors import ConfigError
from fusionlit.storage.rows import Rows, blocks
from fusionlit.types import Batch

SHARE = 0.8
"""Largest share of the free device memory that a data set may use; the rest is for training."""


class SampleNumbers(Dataset[Batch]):
    """The samples of one split without their inputs, which are in device memory.

    Args:
        dataset: The split.
    """

    def __init__(self, dataset: ArrayDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitems__(self, items: list[int]) -> Batch:
        rows = self.dataset.rows[items]
        return {"inputs": {}, "target": self.dataset.targets[rows], "index": rows}


class DeviceCache:
    """Inputs and presence masks of all samples on one device, in the stored data type.

    Args:
        dataset: Any split of the data set; its arrays contain all splits.
        device: The device.

    Raises:
        ConfigError: If the data set does not fit into the device's memory.
    """

    def __init__(self, dataset: ArrayDataset, device: torch.device) -> None:
        self.device = device
        samples = np.arange(len(dataset.targets))
        free, needed = _free_bytes(device), sum(len(samples) * x[samples[:1]].nbytes for x in dataset.inputs.values())
        if free is not None and needed > SHARE * free:
            raise ConfigError(
                f"Expected a data set for `cache_on_device` that uses at most {SHARE:.0%} of the free memory of"
                f" {device}, {free / 1e9:.3g} GB, but it needs {needed / 1e9:.3g} GB. Leave `cache_on_device` out to"
                " gather batches from the files."
            )
        self.inputs = {name: _copy(name, values, samples, device) for name, values in dataset.inputs.items()}
        self.presence = {name: torch.from_numpy(mask).to(device) for name, mask in dataset.presence.items()}

    def fill(self, batch: Batch) -> Batch:
        """The batch with the inputs and presence masks of its samples."""
        filled: Batch = {**batch, "inputs": {name: x[batch["index"]] for name, x in self.inputs.items()}}
        if self.presence:
            filled["presence"] = {name: mask[batch["index"]] for name, mask in self.presence.items()}
        return filled


def _copy(name: str, values: Rows, samples: NDArray[np.int64], device: torch.device) -> Tensor:
    first = torch.from_numpy(values[samples[:1]])
    whole = torch.empty(len(samples), *first.shape[1:], dtype=first.dtype, device=device)
    for rows in progress(list(blocks([values], samples)), f"{name} to {device}"):
        whole[rows[0] : rows[-1] + 1] = torch.from_numpy(values[rows])
    return whole


def _free_bytes(device: torch.device) -> int | None:
    if device.type == "cuda":
        torch.cuda.empty_cache()  # memory that torch only caches counts as free
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available if device.type == "cpu" else None
