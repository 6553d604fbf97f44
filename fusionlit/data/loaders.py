"""Data loaders: the order of samples, their distribution over processes, and collation."""

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
    """Loader of a split: shuffled, for Lightning to distribute, or in order, each sample once over all processes."""
    sampler: Sampler[int] | None = Shuffled(dataset) if shuffle else None  # type: ignore[arg-type]  # has a length
    if not shuffle and processes > 1:
        # Lightning's default sampler repeats samples for padding, which would then count twice.
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
    """The same order as torch's RandomSampler, without a list of Python integers for the whole data set.

    The list takes 40 bytes per sample, the permutation 8.
    """

    def __iter__(self) -> Iterator[int]:
        seed = int(torch.empty((), dtype=torch.int64).random_().item())
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        for start in range(0, len(order), 4096):
            yield from order[start : start + 4096].tolist()


def collate(samples: list[dict[str, Any]] | Batch) -> Batch:
    """Stack samples into a batch; a whole batch from a data set's `__getitems__` is returned unchanged.

    Raises:
        DataError: If the samples differ in their fields or shapes.
    """
    if not isinstance(samples, list):
        return samples
    first, *rest = (fields(sample) for sample in samples)
    for other in rest:
        if other != first:
            key = next(key for key in {**first, **other} if first.get(key) != other.get(key))
            raise DataError(
                f"Expected {key!r} to have the same shape in all samples of a batch, but one has"
                f" {first.get(key, 'none')} and another {other.get(key, 'none')}. Pad or crop in `__getitem__`; for a"
                " missing modality, return any numbers of this shape, and mark it as missing in `presence`."
            )
    batch: Batch = default_collate(samples)
    return batch


def fields(sample: object, name: str = "sample") -> dict[str, object]:
    """Shape of each field of a sample, by its dotted name."""
    if isinstance(sample, dict):
        return {key: shape for k, item in sample.items() for key, shape in fields(item, f"{name}.{k}").items()}
    return {name: tuple(getattr(sample, "shape", ()))}
