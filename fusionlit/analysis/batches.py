"""Batches of a split, for the analysis of a trained model."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn
from torch.utils.data import DataLoader

from fusionlit.data import FusionDataModule, collate
from fusionlit.models import FusionModule
from fusionlit.types import Batch, Split


def split_batches(
    model: FusionModule, data: FusionDataModule, split: Split, order: Sequence[int] | None = None
) -> Iterator[Batch]:
    """Batches of a split in this order of samples (default: in sequence), converted and on the model's device.

    The whole split is read in this process, even in distributed runs.
    """
    sampler = None if order is None else list(order)
    for batch in DataLoader(data.dataset(split), data.batch_size, sampler=sampler, collate_fn=collate):
        yield data.on_after_batch_transfer(data.transfer_batch_to_device(batch, model.device, 0), 0)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Switch to evaluation mode; afterwards restore the mode of each module, since parts may be frozen."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
