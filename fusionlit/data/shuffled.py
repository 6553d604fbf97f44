"""Shuffling long data sets."""

from collections.abc import Iterator

import torch
from torch.utils.data import RandomSampler


class Shuffled(RandomSampler):
    """The order of torch's RandomSampler, number for number, but not all of it at once as Python integers.

    Those take 40 bytes a sample, the permutation 8.
    """

    def __iter__(self) -> Iterator[int]:
        seed = int(torch.empty((), dtype=torch.int64).random_().item())
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        for start in range(0, len(order), 4096):
            yield from order[start : start + 4096].tolist()
