"""Arrays that are ready: an NPZ file with one array a modality, and a target."""

from pathlib import Path
from typing import cast

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from fusionlit.data.array_dataset import ArrayDataset
from fusionlit.data.arrays.samples import PRESENCE, check_presence, find_shape, read_modality
from fusionlit.data.assignment import Assignment, GroupSplit, check_assignment, save_assignment, some
from fusionlit.data.augment import Augmentation
from fusionlit.data.base import FusionDataModule, chosen
from fusionlit.data.groups import find_groups
from fusionlit.data.splits import FractionSplit, OfficialSplit
from fusionlit.data.targets import Targets, count_classes, default_kind, make_targets
from fusionlit.errors import DataError
from fusionlit.storage.npz import NpzFile
from fusionlit.types import SPLITS, Shape, Split, TargetKind, TargetSpec

OFFICIAL = "split"
"""Name of the array that tells which split each sample belongs to."""


class ArrayDataModule(FusionDataModule):
    """An NPZ file (`numpy.savez`) with one array `(n, *shape)` a modality, of any shape, and a target.

    Vectors (text embeddings), sequences `(n, channels, time)`, maps `(n, channels, height, width)`: whatever has the
    samples first. Other arrays that it knows, all `(n,)`:

    - `groups` (text or integers): what a split must not tear apart, such as subjects; else every sample is a group;
    - `split` (text `train`, `val`, `test`): the file's own split, taken when `split` is not given;
    - `presence_<modality>` (bool): false where a sample lacks the modality; its values there may be anything.

    The kind of the target, unless given, follows the array: integers or text `(n,)` are `multiclass`, also with two
    classes; bool `(n,)` is `binary`; 0 and 1, or bool, `(n, labels)` are `multilabel`; floats `(n,)` or `(n, outputs)`
    are `regression`. Labels are numbered from 0 in sorted order, numbers by value, and are the names of the classes.

    Sizes come from the headers of the file; only the target is read before `setup`. Values travel in the file's own
    type; the model gets float32, float64 loses digits.

    Args:
        path: The NPZ file.
        modalities: Names of the arrays to fuse; default: all but the ones above.
        target: Name of the target's array.
        kind: What the target means; default: see above.
        groups: Name of the array of groups; default: `groups`, if there is one.
        split: Which groups train, validate and test; default: the file's own `split`, or else `FractionSplit()`.
        write_split: JSON file to which `setup` writes the groups of each split, for `FileSplit`.
        augmentation: Varies signals `(channels, time)` or pictures `(channels, height, width)` in training.
        batch_size: Samples a batch and process.
        num_workers: Processes that load data; 0 loads in the main process.
        resident: Hold the whole data set in the device's memory.

    Raises:
        DataError: If the file is no NPZ, or an array is not as above.
        ConfigError: If an array that is named here is not in the file, or `augmentation` does not fit.
    """

    def __init__(
        self,
        path: Path,
        modalities: list[str] | None = None,
        target: str = "target",
        kind: TargetKind | None = None,
        groups: str | None = None,
        split: GroupSplit | None = None,
        write_split: Path | None = None,
        augmentation: Augmentation | None = None,
        batch_size: int = 32,
        num_workers: int = 0,
        resident: bool = False,
    ) -> None:
        super().__init__(batch_size, num_workers, augmentation, resident)
        self.path = Path(path)
        self.write_split = write_split
        self._file = NpzFile(self.path)
        self._file.require("target", [target])
        self._file.require("groups", [groups] if groups else [])
        self._file.require("modalities", modalities or [])
        self._targets = self._read_target(target, kind)
        self._groups = groups or ("groups" if "groups" in self._file.headers else None)
        self._official = OFFICIAL in self._file.headers
        self.split = split or (OfficialSplit() if self._official else FractionSplit())
        self._modalities = self._find_modalities(modalities, beside={target, self._groups, OFFICIAL})
        self.check_augmentation()
        self._datasets: dict[Split, ArrayDataset] = {}

    @property
    def modalities(self) -> dict[str, Shape]:
        """Shape of each modality's array behind the samples."""
        return self._modalities

    @property
    def target(self) -> TargetSpec:
        """By the target's array."""
        return self._targets.spec

    def setup(self, stage: str) -> None:
        """Read, check and split the arrays, once for all stages.

        Raises:
            DataError: If a value is NaN or infinite where the modality is present, a group lies in two splits, or a
                split that is not empty lacks a class.
        """
        if self._datasets:
            return
        names, assigned = self._assign()
        read = {name: read_modality(self._file, name) for name in self._modalities}
        inputs = {name: values for name, (values, _) in read.items()}
        presence = {name: there for name, (_, there) in read.items()}
        if all(there.all() for there in presence.values()):
            presence = {}
        for split in SPLITS:
            rows = torch.from_numpy(np.flatnonzero(np.isin(names, assigned[split])))
            self._check_classes(split, rows)
            self._datasets[split] = ArrayDataset(inputs, self._targets.values, presence, rows)
        if self.write_split and (self.trainer is None or self.trainer.is_global_zero):
            save_assignment(Path(self.write_split), assigned)

    def dataset(self, split: Split) -> ArrayDataset:
        """Samples of one split.

        Raises:
            ConfigError: If the split is empty.
        """
        return chosen(
            self._datasets,
            split,
            f"{self.path}: the {split} split has no samples. Give it some in `split`, such as FractionSplit by"
            f" `{split}`, or in the array {OFFICIAL!r} of the file.",
        )

    def class_counts(self) -> Tensor | None:
        """Training samples of each class (binary: of both; multilabel: that have each label), None for regression."""
        return count_classes(self._targets, self._datasets["train"].rows)

    def _read_target(self, name: str, kind: TargetKind | None) -> Targets:
        values = self._file.read(name)
        targets = make_targets(self._file.where(name), values, kind or default_kind(values))
        if kind is None:
            rank_zero_info(
                f"{self._file.where(name)}: {values.shape} {values.dtype} is taken for a {targets.spec.kind} target of"
                f" size {targets.spec.size}. Set `kind` if it means something else."
            )
        return targets

    def _find_modalities(self, asked: list[str] | None, beside: set[str | None]) -> dict[str, Shape]:
        headers, samples = self._file.headers, len(self._targets.values)
        names = asked or [name for name in headers if name not in beside and not name.startswith(PRESENCE)]
        if not names:
            raise DataError(f"{self.path}: expected one array a modality beside the target, but got {list(headers)}.")
        check_presence(self._file, samples)
        return {name: find_shape(self._file, name, samples) for name in names}

    def _assign(self) -> tuple[list[str], Assignment]:
        """Group of every sample, and the groups of each split."""
        samples = len(self._targets.values)
        names = self._file.read_names(self._groups, samples) if self._groups else [str(row) for row in range(samples)]
        own = self._file.read_names(OFFICIAL, samples) if self._official else None
        if unknown := sorted(set(own or ()) - set(SPLITS)):
            raise DataError(
                f"{self._file.where(OFFICIAL)}: expected 'train', 'val' and 'test', but got {some(unknown)}."
            )
        labels = self._targets.values.tolist() if self.target.kind in ("multiclass", "binary") else None
        groups = find_groups(names, labels, cast(list[Split] | None, own))
        assigned = self.split.assign(groups)
        check_assignment(assigned, groups, self.split)
        return names, assigned

    def _check_classes(self, split: Split, rows: Tensor) -> None:
        # Few samples may have a label: it may well be missing where nothing is learned.
        if not len(rows) or (self.target.kind == "multilabel" and split != "train"):
            return
        counts = count_classes(self._targets, rows)
        absent = [] if counts is None else (counts == 0).nonzero()[:, 0].tolist()
        if absent:
            names = self.target.names or range(self.target.size)
            raise DataError(
                f"{self.path}: expected every class in every split, but the {split} split ({len(rows)} samples) lacks"
                f" {some([str(names[k]) for k in absent])}. Choose another `split` (larger fractions; the seed"
                " matters only where groups hold several classes), or leave out the class."
            )
