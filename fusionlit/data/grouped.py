"""Base class of data modules whose samples belong to groups."""

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_info
from numpy.typing import NDArray

from fusionlit.data.array_dataset import ArrayDataset
from fusionlit.data.assignment import Assignment, GroupSplit, save_assignment
from fusionlit.data.augment import Augmentation
from fusionlit.data.base import FusionDataModule
from fusionlit.data.classes import BatchBalance, check_classes
from fusionlit.data.groups import find_groups
from fusionlit.data.resplit import assign_checked
from fusionlit.data.samples import Samples
from fusionlit.data.statistics import file_in
from fusionlit.data.targets import Targets, class_names, count_classes, is_class
from fusionlit.errors import ConfigError, DataError
from fusionlit.types import SPLITS, Batch, Modalities, Split, TargetSpec

SplitRows = Mapping[Split, NDArray[np.int64]]
"""Sample numbers of each split, in ascending order."""


class GroupedDataModule(FusionDataModule):
    """A data module that splits samples by group, and checks every split.

    A subclass implements `samples`, and `convert` if the model needs anything other than these values as floats. If
    `modalities` and `target` are known without reading any data, it implements them too. Its constructor needs the
    arguments `split` and `write_split`, since `fit --refit` and `fit --folds` replace the split.

    Errors are raised for a split that lists a group twice or an unknown one, for a training split without samples of a
    class (a warning for validation and test), and for unshuffled training batches.

    Args:
        split: Assignment of groups to training, validation and test; default: `OfficialSplit()` if the source has an
            official split, else `FractionSplit()`.
        write_split: JSON file to which `setup` writes the groups of each split, for `FileSplit`.
        batch_size: Samples per batch, per process.
        num_workers: Worker processes that load data; 0 loads in the main process.
        augmentation: Augmentation of training batches.
        cache_on_device: Keep the whole data set in device memory.
    """

    def __init__(
        self,
        split: GroupSplit | None = None,
        write_split: Path | None = None,
        batch_size: int = 32,
        num_workers: int = 0,
        augmentation: Augmentation | None = None,
        cache_on_device: bool = False,
    ) -> None:
        super().__init__(batch_size, num_workers, augmentation, cache_on_device)
        self.split = split
        self.write_split = write_split
        self._samples: Samples | None = None
        self._shapes: Modalities = {}
        self._datasets: dict[Split, ArrayDataset] = {}
        self.description = ""
        """Summary of the splits, after `setup`."""
        self._conversion: str | None = None
        self._balance: BatchBalance | None = None

    @abstractmethod
    def samples(self) -> Samples:
        """All samples, with their groups and targets."""

    def check_split(self, samples: Samples, rows: SplitRows) -> SplitRows:
        """Further checks of the split, for subclasses.

        Returns:
            The sample numbers to use.
        """
        return rows

    def describe(self, samples: Samples, rows: SplitRows) -> str:
        """Summary of the splits: their numbers of samples and groups."""
        groups = {split: len({samples.groups[row] for row in chosen}) for split, chosen in rows.items()}
        listed = ", ".join(f"{split} {len(rows[split]):,} samples of {groups[split]:,}" for split in SPLITS)
        return f"{samples.source}: {listed} groups"

    @property
    def conversion(self) -> str | None:
        """Text that identifies how `convert` turns packed values into inputs; None if unknown.

        If given, input statistics are stored with the pack. A subclass does not inherit it, since its `convert` may
        differ: it has to define its own.
        """
        return None

    @property
    def modalities(self) -> Modalities:
        """Shapes of the first sample after `convert`."""
        if not self._shapes:
            samples, self._tokens = self._opened(), set()  # otherwise `convert` would need the modalities
            first = _dataset(samples, samples.usable[:1]).__getitems__([0])
            self._shapes = {name: tuple(x.shape[1:]) for name, x in self._converted(first)["inputs"].items()}
            self._tokens = None
        return self._shapes

    @property
    def target(self) -> TargetSpec:
        """Target of the samples."""
        return self._opened().targets.spec

    def prepare_data(self) -> None:
        """Pack the data, unless `setup` has run: a test after training uses the data already opened."""
        if not self._datasets:
            self.pack()

    def setup(self, stage: str) -> None:
        """Open, split and check all samples, once for all stages.

        Raises:
            DataError: If samples are unusable, a group is in two splits, or the training split lacks a class.
        """
        if self._datasets:
            return
        samples, self._samples = self._opened(), None  # after an error, the next `setup` opens them again
        assigned = self._assign(samples)
        rows = self.check_split(samples, _rows(samples, assigned))
        datasets = {split: _dataset(samples, rows[split]) for split in SPLITS}
        spec = samples.targets.spec
        for split, dataset in datasets.items():
            # A rare label of a multilabel target may be missing in validation and test.
            counts = count_classes(samples.targets, dataset.rows)
            if counts is not None and (split == "train" or is_class(spec)):
                check_classes(samples.source, split, len(dataset), counts, class_names(spec))
        if self.write_split and (self.trainer is None or self.trainer.is_global_zero):
            save_assignment(Path(self.write_split), assigned)
        self.description = self.describe(samples, rows)
        rank_zero_info(self.description)
        known = self.conversion if "conversion" in vars(type(self)) else None
        self._samples, self._datasets, self._conversion = samples, datasets, known
        train = self.class_counts() if is_class(spec) and len(datasets["train"]) else None
        self._balance = None if train is None else BatchBalance(train, class_names(spec))

    def dataset(self, split: Split) -> ArrayDataset:
        """Samples of one split.

        Raises:
            ConfigError: If `setup` has not run, or the split is empty.
        """
        if not self._datasets:
            raise ConfigError("The data has not been read yet: call `setup` first, or let a trainer do it.")
        if not len(self._datasets[split]):
            raise ConfigError(
                f"The {split} split has no samples. Change `split`: FractionSplit needs `{split}` above 0 and enough"
                f" groups, FileSplit a list {split!r}. LastFramesSplit has no test groups, but `test_on_validation:"
                f" true` tests on the validation groups.\n{self.description}"
            )
        return self._datasets[split]

    def class_counts(self) -> torch.Tensor | None:
        """Number of training samples per class (multilabel: per label; `binary`: two); None for regression."""
        train = self.dataset("train")
        return count_classes(Targets(self.target, train.targets), train.rows)

    def statistics_file(self) -> Path | None:
        """File in the folder of the pack, if there is a pack and `conversion` is known."""
        train, samples = self.dataset("train"), self._opened()
        if samples.pack is None or self._conversion is None:
            return None
        return file_in(samples.pack.folder, train.rows, self.modalities, self.batch_size, self._conversion)

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Check that the first training batches are shuffled, while their labels are still on the host."""
        trainer = self.trainer
        # With `overfit_batches`, Lightning does not shuffle.
        watched = trainer is not None and trainer.training and not getattr(trainer, "overfit_batches", 0)
        if self._balance is not None and watched:
            self._balance.check(batch["target"])
        return batch

    def _opened(self) -> Samples:
        if self._samples is None:
            samples = self.samples()
            if not len(samples.usable):
                raise DataError(f"{samples.source}: expected at least one usable sample, but its `rows` are empty.")
            self._samples = samples
        return self._samples

    def _assign(self, samples: Samples) -> Assignment:
        """Groups of each split. Groups without a usable sample are not assigned, but a split may name them."""
        names, rows = [samples.groups[row] for row in samples.usable], samples.usable
        labels = samples.targets.values[rows].tolist() if is_class(samples.targets.spec) else None
        official = None if samples.official is None else [samples.official[row] for row in rows]
        return assign_checked(self.split, find_groups(names, labels, official), known=set(samples.groups))


def _dataset(samples: Samples, rows: NDArray[np.int64]) -> ArrayDataset:
    return ArrayDataset(samples.inputs, samples.targets.values, samples.presence, torch.from_numpy(rows))


def _rows(samples: Samples, assigned: Assignment) -> SplitRows:
    chosen = {split: set(groups) for split, groups in assigned.items()}
    return {
        split: np.array([row for row in samples.usable.tolist() if samples.groups[row] in chosen[split]], np.int64)
        for split in SPLITS
    }
