"""Arrays whose rows can be gathered."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

BLOCK = 4 << 20
"""Bytes per block when many rows are read or written."""


class Rows(Protocol):
    """An array `(n, *shape)` whose rows can be gathered: in memory, or a `MappedArray`."""

    def __getitem__(self, rows: NDArray[np.int64], /) -> NDArray[Any]: ...


def blocks(values: Sequence[Rows], rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Split row numbers into blocks (of at least one row) of about `BLOCK` bytes over all arrays."""
    step = max(1, BLOCK // sum(each[rows[:1]].nbytes for each in values))
    yield from (rows[start : start + step] for start in range(0, len(rows), step))
