"""The data set class of all data modules here: gathers batches from arrays in memory or memory-mapped files."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from fusionlit.storage.rows import Rows
from fusionlit.types import Batch


class ArrayDataset(Dataset[dict[str, Any]]):
    """Samples of one split; a batch is gathered with one indexing per modality, in the stored data type.

    `__getitems__` returns a whole `Batch`: a custom loader needs `fusionlit.data.collate` as its `collate_fn`.

    Args:
        inputs: Values `(n, *shape)` of all samples, by modality.
        targets: Targets `(n,)` or `(n, size)` of all samples.
        presence: Presence masks `(n,)` by modality; empty if no modality is missing.
        rows: Numbers of the samples in this split, which are also their `index`.
    """

    def __init__(
        self, inputs: Mapping[str, Rows], targets: Tensor, presence: dict[str, NDArray[np.bool_]], rows: Tensor
    ) -> None:
        self.inputs = inputs
        self.targets = targets
        self.presence = presence
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def shares_arrays(self, other: "ArrayDataset") -> bool:
        """Whether both are splits of the same arrays, so that sample numbers mean the same in both."""
        mine, theirs = ([*x.inputs.items(), *x.presence.items(), ("", x.targets)] for x in (self, other))
        return len(mine) == len(theirs) and all(a == b and x is y for (a, x), (b, y) in zip(mine, theirs, strict=True))

    def __getitem__(self, item: int) -> dict[str, Any]:
        batch = self.__getitems__([item])
        nested = {
            name: {key: x[0] for key, x in part.items()} for name, part in batch.items() if isinstance(part, dict)
        }
        return {**nested, "target": batch["target"][0], "index": batch["index"][0]}

    def __getitems__(self, items: list[int]) -> Batch:
        rows = self.rows[items]
        batch: Batch = {
            "inputs": {name: torch.from_numpy(values[rows.numpy()]) for name, values in self.inputs.items()},
            "target": self.targets[rows],
            "index": rows,
        }
        if self.presence:
            batch["presence"] = {name: torch.from_numpy(mask[rows.numpy()]) for name, mask in self.presence.items()}
        return batch
