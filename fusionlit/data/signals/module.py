"""Data module of windows of multi-sensor signals, for several file formats."""

from pathlib import Path

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_warn
from numpy.typing import NDArray

from fusionlit.data.assignment import GroupSplit
from fusionlit.data.augment import Augmentation
from fusionlit.data.grouped import GroupedDataModule, SplitRows
from fusionlit.data.samples import Samples
from fusionlit.data.signals.derived import Derivation, Derived
from fusionlit.data.signals.describe import describe
from fusionlit.data.signals.files import WindowFiles
from fusionlit.data.signals.gaps import Filled, OnMissing, check_complete, check_policy
from fusionlit.data.signals.modalities import stack_specs
from fusionlit.data.signals.overlap import check_overlap
from fusionlit.data.signals.readers.base import SignalReader
from fusionlit.data.signals.readers.find import find_reader
from fusionlit.data.signals.stacked import Stacked
from fusionlit.data.signals.suspects import leave_out_empty, warn_of_duplicates
from fusionlit.data.signals.windowing.config import Windowing
from fusionlit.data.targets import Targets, class_target
from fusionlit.storage.pack import Pack
from fusionlit.storage.rows import Rows
from fusionlit.types import SPLITS, Batch, ModalitySpec, TargetSpec


class SignalDataModule(GroupedDataModule):
    """Windows of signals for classification; a modality is a named group of channels, `(channels, time)`.

    Reads the official folder of UCI HAR, UEA `.ts` files, NPZ archives and recordings in CSV files; see the readers.
    `index` is the position of a window in the source, training files first.

    On first use all windows are read into memory and packed, unchanged; later starts gather batches from the pack. They
    are read again when a file, `modalities`, `windowing` or the reader changes; `split`, `on_missing` and `max_gap` are
    applied to the packed windows. CSV recordings are packed on construction, since their sizes are not known before.
    The windows of a custom reader are packed if it declares its `origin`; otherwise they are read at every start.

    A group (subject, recording) always stays in one split. In addition, `setup` raises an error if windows in different
    splits share samples (found only if windows are in temporal order), and warns of equal windows in different splits.
    In a source without groups, no other leakage is detected: overlapping windows that were shuffled, or rescaled one by
    one, are not recognised.

    Args:
        root: Folder or file, which determines the default reader.
        modalities: Channels of each modality; default: one modality per sensor with axes (`acc_x`, `acc_y`, `acc_z`
            become `acc`), and one per other channel.
        derived: Modalities computed on the device from these, or from derived ones before them: a `Difference`, such as
            gravity, or a `Magnitude`. If a source is missing, so is the derived modality.
        keep: Names of the modalities for the model, packed or derived; default: all.
        split: Assignment of groups to training, validation and test; default: `OfficialSplit()` if the source has an
            official split, else `FractionSplit()`.
        write_split: JSON file to which `setup` writes the groups of each split, for `FileSplit`.
        binary: For two classes, one logit (the second class is positive) instead of one output per class.
        on_missing: `error` raises an error for missing values; `interpolate` fills gaps of up to `max_gap` samples, and
            raises an error for longer ones; `mask` also fills short gaps, and treats the modality as missing in windows
            with longer ones. In CSV recordings a single lost or empty sample never counts as missing: resampling
            bridges steps of up to 2.5 sampling periods.
        max_gap: Longest gap to fill (samples of the channel), within each window: if a gap crosses the edge of a
            window, only the part inside counts.
        windowing: How to cut recordings in CSV files into windows.
        reader: Custom reader; default: chosen by `root`.
        augmentation: Augmentation of training batches.
        batch_size: Samples per batch, per process.
        num_workers: Worker processes that load data; 0 loads in the main process.
        cache_on_device: Keep the whole data set in device memory.
        pack: Folder for the packed data, in its subfolder `.fusionlit`, for a read-only `root`; default: `root`, or the
            folder that contains it.

    Raises:
        DataError: If the files are not as expected.
        ConfigError: If the arguments do not fit each other or the data.
    """

    def __init__(
        self,
        root: Path,
        modalities: dict[str, list[str]] | None = None,
        derived: dict[str, Derived] | None = None,
        keep: list[str] | None = None,
        split: GroupSplit | None = None,
        write_split: Path | None = None,
        binary: bool = False,
        on_missing: OnMissing = "error",
        max_gap: int = 0,
        windowing: Windowing | None = None,
        reader: SignalReader | None = None,
        augmentation: Augmentation | None = None,
        batch_size: int = 32,
        num_workers: int = 0,
        cache_on_device: bool = False,
        pack: Path | None = None,
    ) -> None:
        super().__init__(split, write_split, batch_size, num_workers, augmentation, cache_on_device)
        check_policy(on_missing, max_gap)
        self.root = Path(root)
        self.on_missing, self.max_gap = on_missing, max_gap
        self._files = WindowFiles(self.root, reader or find_reader(self.root, windowing), modalities, pack)
        self._packed_specs = stack_specs(self._files.modalities, self._files.header.channels)
        self._derivation = Derivation(self._packed_specs, derived, keep)
        self._target = class_target(self._files.header.classes, binary)
        self.check_augmentation()
        self._packed: Stacked | None = None
        self._windows: Stacked  # of the last `samples`

    @property
    def modalities(self) -> dict[str, ModalitySpec]:
        """Specs of the signals `(channels, time)`, with channels, rate and unit."""
        return self._derivation.specs

    @property
    def target(self) -> TargetSpec:
        """The classes, with their names."""
        return self._target

    def pack(self) -> Pack | None:
        """Read and pack all windows, unless a pack of the unchanged files exists, and verify the pack.

        None if the reader has no `origin`.

        Raises:
            DataError: If the files are not as expected, or the packed data cannot be written.
        """
        packed = self._files.pack()
        self._packed = None if packed is None else Stacked.of(packed)
        return packed

    def samples(self) -> Samples:
        """All windows, with gaps filled.

        Raises:
            DataError: If windows are unusable.
        """
        # With a trainer, one process of this node has already packed and verified the data in `prepare_data`.
        windows, self._packed = self._packed or self._files.open(contents=self.trainer is None), None
        self._files.check(windows)
        for suspect in windows.suspects:
            rank_zero_warn(f"{self.root}: {suspect}")
        inputs, presence = self._fill(windows)
        self._windows = windows
        return Samples(
            inputs,
            Targets(self._target, torch.from_numpy(windows.target)),
            windows.group.tolist(),
            presence,
            None if windows.official is None else windows.official.tolist(),
            source=str(self.root),
            pack=windows.pack,
        )

    def check_split(self, samples: Samples, rows: SplitRows) -> SplitRows:
        """Check for leakage between splits, and leave out empty windows.

        Raises:
            DataError: If windows in different splits share samples.
        """
        windows, side = self._windows, _sides(rows, len(samples.groups))
        lengths = {name: spec.shape[1] for name, spec in self._packed_specs.items()}
        first = next(iter(lengths.values()))
        check_overlap([x for name, x in windows.inputs.items() if lengths[name] == first], side)
        warn_of_duplicates(str(self.root), windows.keys, side)
        leave_out_empty(samples.presence, side)
        return {split: chosen[side[chosen] != ""] for split, chosen in rows.items()}

    def describe(self, samples: Samples, rows: SplitRows) -> str:
        """Summary of channels with units and rates, classes, and windows and groups of each split."""
        return describe(self.root, self._windows, _sides(rows, len(samples.groups)))

    @property
    def conversion(self) -> str | None:
        """Settings of gap filling and of derived modalities; None if a custom class derives one."""
        recipe = self._derivation.recipe
        return None if recipe is None else f"{self.on_missing} {self.max_gap} {recipe}"

    def convert(self, batch: Batch) -> Batch:
        """Convert inputs to floats, and compute the derived modalities."""
        batch = super().convert(batch)
        return {**batch, "inputs": self._derivation.inputs(batch["inputs"])}

    def _fill(self, windows: Stacked) -> tuple[dict[str, Rows], dict[str, NDArray[np.bool_]]]:
        """Packed modalities with gaps filled, and presence masks `(n,)` of the model's inputs (empty: none missing)."""
        inputs: dict[str, Rows] = dict(windows.inputs)
        presence = {name: np.ones(len(windows), np.bool_) for name in inputs}
        missing: dict[str, NDArray[np.int64]] = {}
        for (name, channels), gaps in zip(windows.modalities.items(), windows.gaps.T, strict=True):
            if gaps.any():
                inputs[name] = filled = Filled(windows.inputs[name], self.max_gap)
                counts = filled.missing(gaps)
                presence[name] = counts.sum(1) == 0
                missing |= dict(zip(channels, counts.T, strict=True))
        if self.on_missing != "mask":
            check_complete(str(self.root), missing, self.max_gap)
        return inputs, self._derivation.presence(presence)


def _sides(rows: SplitRows, windows: int) -> NDArray[np.str_]:
    """Split of each window, `(n,)`; empty for unused windows."""
    side = np.full(windows, "", "<U5")
    for split in SPLITS:
        side[rows[split]] = split
    return side
