"""From samples to batches: how they are stacked, in which order, and by which process."""

from collections.abc import Iterator
from typing import Any

import torch
from lightning.pytorch.overrides.distributed import UnrepeatedDistributedSampler
from torch.utils.data import DataLoader, Dataset, RandomSampler, Sampler, default_collate

from fusionlit.errors import DataError
from fusionlit.types import Batch


def make_loader(
    dataset: Dataset[Any], shuffle: bool, batch_size: int, num_workers: int, rank: int, processes: int
) -> DataLoader[Any]:
    """Batches of a split: shuffled, for Lightning to share out, or every sample once over all processes, in order."""
    sampler: Sampler[int] | None = Shuffled(dataset) if shuffle else None  # type: ignore[arg-type]  # has a length
    if not shuffle and processes > 1:
        # Lightning's own choice pads with repeated samples, which then count twice.
        sampler = UnrepeatedDistributedSampler(dataset, num_replicas=processes, rank=rank, shuffle=False)
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=num_workers,
        collate_fn=collate,
        persistent_workers=num_workers > 0,
        pin_memory=torch.cuda.is_available(),
    )


class Shuffled(RandomSampler):
    """The order of torch's RandomSampler, number for number, but not all of it at once as Python integers.

    Those take 40 bytes a sample, the permutation 8.
    """

    def __iter__(self) -> Iterator[int]:
        seed = int(torch.empty((), dtype=torch.int64).random_().item())
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        for start in range(0, len(order), 4096):
            yield from order[start : start + 4096].tolist()


def collate(samples: list[dict[str, Any]] | Batch) -> Batch:
    """Stack samples to a batch; what a data set's `__getitems__` has gathered is one already.

    Raises:
        DataError: If the samples do not hold the same fields, each of one shape.
    """
    if not isinstance(samples, list):
        return samples
    first, *rest = (fields(sample) for sample in samples)
    for other in rest:
        if other != first:
            key = next(key for key in {**first, **other} if first.get(key) != other.get(key))
            raise DataError(
                f"Expected all samples of a batch to hold {key!r} of one shape, but one has"
                f" {first.get(key, 'none')} and another {other.get(key, 'none')}. Pad or crop to one length in"
                " `__getitem__`; for a sensor that a sample lacks, give any numbers and say so in `presence`."
            )
    batch: Batch = default_collate(samples)
    return batch


def fields(sample: object, name: str = "sample") -> dict[str, object]:
    """The shape of each field of a sample, by its dotted name."""
    if isinstance(sample, dict):
        return {key: shape for k, item in sample.items() for key, shape in fields(item, f"{name}.{k}").items()}
    return {name: tuple(getattr(sample, "shape", ()))}
