"""The one data set of all data modules here: batches gathered from arrays, in memory or mapped from a file."""

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
    """Samples of one split; a batch is one gather a modality, in the type in which the values are stored.

    `__getitems__` gives a whole `Batch`: a loader of one's own takes `fusionlit.data.collate` as its `collate_fn`.

    Args:
        inputs: `(n, *shape)` of all samples, by modality.
        targets: `(n,)` or `(n, size)`.
        presence: `(n,)` by modality; empty if all are there.
        rows: Numbers of the samples in this split, which are also their index.
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
        """Whether both are splits of one data set, whose numbers of samples mean the same in both."""
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
            batch["presence"] = {name: torch.from_numpy(there[rows.numpy()]) for name, there in self.presence.items()}
        return batch
