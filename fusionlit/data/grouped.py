"""A data module whose samples belong to groups, which no split tears apart."""

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
from fusionlit.errors import ConfigError
from fusionlit.types import SPLITS, Batch, Modalities, Split, TargetSpec

SplitRows = Mapping[Split, NDArray[np.int64]]
"""Numbers of the samples in each split, in ascending order."""


class GroupedDataModule(FusionDataModule):
    """Samples, groups and targets as a data module, which splits them by group and checks every split.

    A subclass gives `samples`, and a `convert` where the model is to see something else than floats of what it gives.
    Where nothing is read to know `modalities` and `target`, it answers these too. It keeps `split` and `write_split` in
    its constructor: `fit --refit` and `fit --folds` put another split there.

    A split that names a group twice, or one that does not exist, is refused, and so is a training split that lacks a
    class; one of validation or test that does is warned of. First training batches of one class are refused.

    Args:
        split: Which groups train, validate and test; default: `OfficialSplit()` where the source comes split, else
            `FractionSplit()`.
        write_split: JSON file to which `setup` writes the groups of each split, for `FileSplit`.
        batch_size: Samples per batch, per process.
        num_workers: Processes that load data; 0 loads in the main process.
        augmentation: Varies training batches.
        cache_on_device: Hold the whole data set in the device's memory.
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
        """What each split has; known after `setup`."""
        self._conversion: str | None = None
        self._balance: BatchBalance | None = None

    @abstractmethod
    def samples(self) -> Samples:
        """All samples, their groups and targets."""

    def check_split(self, samples: Samples, rows: SplitRows) -> SplitRows:
        """Further checks of a format, once it is known which samples are in which split.

        Returns:
            The rows to use.
        """
        return rows

    def describe(self, samples: Samples, rows: SplitRows) -> str:
        """What each split has."""
        groups = {split: len({samples.groups[row] for row in chosen}) for split, chosen in rows.items()}
        listed = ", ".join(f"{split} {len(rows[split]):,} samples of {groups[split]:,}" for split in SPLITS)
        return f"{samples.source}: {listed} groups"

    @property
    def conversion(self) -> str | None:
        """Text of all that decides what `convert` makes of packed values; None where that is unknown.

        Input statistics are then kept beside the pack. A class derived from the one that has this may convert
        otherwise: it needs a text of its own.
        """
        return None

    @property
    def modalities(self) -> Modalities:
        """Shapes as `convert` makes them of the first sample."""
        if not self._shapes:
            samples, self._tokens = self._opened(), set()  # else `convert` would ask for the modalities
            first = _dataset(samples, samples.usable[:1]).__getitems__([0])
            self._shapes = {name: tuple(x.shape[1:]) for name, x in self._converted(first)["inputs"].items()}
        return self._shapes

    @property
    def target(self) -> TargetSpec:
        """That of the samples."""
        return self._opened().targets.spec

    def prepare_data(self) -> None:
        """Pack, unless `setup` has run: a test after training goes on with what was opened then."""
        if not self._datasets:
            self.pack()

    def setup(self, stage: str) -> None:
        """Open, split and check all samples, once for all stages.

        Raises:
            DataError: If samples cannot be used, a group is in two splits, or training lacks a class.
        """
        if self._datasets:
            return
        samples, self._samples = self._opened(), None  # after an error, the next `setup` opens them anew
        assigned = self._assign(samples)
        rows = self.check_split(samples, _rows(samples, assigned))
        datasets = {split: _dataset(samples, rows[split]) for split in SPLITS}
        spec = samples.targets.spec
        for split, dataset in datasets.items():
            # Few samples may have a label: it may well be missing where nothing is learned.
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
            raise ConfigError("The data has not been read yet: call `setup` first, or leave that to a trainer.")
        if not len(self._datasets[split]):
            raise ConfigError(
                f"The {split} split has no samples. Give it some in `split`: FractionSplit by `{split}` and enough"
                f" groups, FileSplit by the list {split!r}. LastFramesSplit has no test groups of its own, but"
                f" `test_on_validation: true` tests on the validation groups.\n{self.description}"
            )
        return self._datasets[split]

    def class_counts(self) -> torch.Tensor | None:
        """Training samples of each class (binary: of both; multilabel: that have each label), None for regression."""
        train = self.dataset("train")
        return count_classes(Targets(self.target, train.targets), train.rows)

    def statistics_file(self) -> Path | None:
        """In the pack's folder, where there is one and `conversion` is known."""
        train, samples = self.dataset("train"), self._opened()
        if samples.pack is None or self._conversion is None:
            return None
        return file_in(samples.pack.folder, train.rows, self.modalities, self.batch_size, self._conversion)

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Check the first training batches while their labels are still on the host."""
        trainer = self.trainer
        # Lightning overfits on the first batches as they lie, unshuffled.
        watched = trainer is not None and trainer.training and not getattr(trainer, "overfit_batches", 0)
        if self._balance is not None and watched:
            self._balance.check(batch["target"])
        return batch

    def _opened(self) -> Samples:
        if self._samples is None:
            self._samples = self.samples()
        return self._samples

    def _assign(self, samples: Samples) -> Assignment:
        """Groups of each split. Those without a usable sample are split by nobody, but may be named."""
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
