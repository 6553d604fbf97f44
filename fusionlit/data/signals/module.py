"""Windows of several sensors' signals, from the files of one of several formats."""

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
from fusionlit.data.signals.suspects import leave_out_empty, warn_of_copies
from fusionlit.data.signals.windowing.config import Windowing
from fusionlit.data.targets import Targets, class_target
from fusionlit.storage.pack import Pack
from fusionlit.storage.rows import Rows
from fusionlit.types import SPLITS, Batch, ModalitySpec, TargetSpec


class SignalDataModule(GroupedDataModule):
    """Windows of signals, to be classified; a modality is a named group of channels, `(channels, time)`.

    Reads the official folder of UCI HAR, UEA `.ts` files, NPZ archives and recordings in CSV files; see the readers.
    `index` is the window's position in the source, training files first.

    The windows are read once, all into memory, and packed as the source has them; later starts gather batches from the
    pack. They are read anew when a file, `modalities`, `windowing` or the reader changes; `split`, `on_missing` and
    `max_gap` are applied to what is packed. CSV recordings are packed on construction, since nothing less tells their
    sizes. What a reader of your own reads is packed if it tells its `origin`, else read at every start.

    Splits never tear a group (subject, recording) apart. Beside that, `setup` refuses windows on two sides that share
    samples, where they follow each other in the source, and warns of windows that are equal on two sides. In a source
    without groups that is all that can be seen: overlapping windows that were shuffled, or rescaled one by one, are not
    found.

    Args:
        root: Folder or file; what it is tells the reader.
        modalities: Channels of each modality; default: the axes of one sensor (`acc_x`, `acc_y`, `acc_z` are `acc`)
            and every other channel for itself.
        derived: Modalities to compute on the device from these, or from derived ones before them: a `Difference`, such
            as gravity, or a `Magnitude`. Where a source is absent, so are they.
        keep: Modalities to give to the model, packed or derived; default: all.
        split: Which groups train, validate and test; default: `OfficialSplit()` where the source comes split, else
            `FractionSplit()`.
        write_split: JSON file to which `setup` writes the groups of each split, for `FileSplit`.
        binary: For two classes, one logit (the second class is positive) instead of one output per class.
        on_missing: `error` refuses missing values; `interpolate` fills gaps of up to `max_gap` samples and refuses
            longer ones; `mask` fills those too, and takes the modality as absent in windows that have longer ones.
            In CSV recordings one lost or empty sample is not missing under any of them: the resampling bridges steps
            of up to 2.5 sampling periods.
        max_gap: Longest gap (samples of the channel) that is filled, window by window: of a gap across a window's edge,
            each window counts its own part.
        windowing: How recordings in CSV files are cut into windows.
        reader: Reader of a format of your own; default: by what `root` is.
        augmentation: Varies training batches.
        batch_size: Samples per batch, per process.
        num_workers: Processes that load data; 0 loads in the main process.
        cache_on_device: Hold the whole data set in the device's memory.
        pack: Folder to write the packed data to, for a `root` that cannot be written; default: `root`, or the folder
            that it is in. It goes to `.fusionlit` in it.

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
        """Signals `(channels, time)` with their channels, rate and unit."""
        return self._derivation.specs

    @property
    def target(self) -> TargetSpec:
        """The classes by their names."""
        return self._target

    def pack(self) -> Pack | None:
        """Read and pack all windows, unless that was done and nothing has changed since, and verify the pack.

        None: the reader does not tell what its windows are made of.

        Raises:
            DataError: If the files are not as expected, or the packed data cannot be written.
        """
        packed = self._files.pack()
        self._packed = None if packed is None else Stacked.of(packed)
        return packed

    def samples(self) -> Samples:
        """All windows, their gaps filled.

        Raises:
            DataError: If windows cannot be used.
        """
        # Under a trainer one process of this node has packed and verified before, in `prepare_data`.
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
        """Leave out empty windows, and warn of copies.

        Raises:
            DataError: If windows on two sides share samples.
        """
        windows, side = self._windows, _sides(rows, len(samples.groups))
        lengths = {name: spec.shape[1] for name, spec in self._packed_specs.items()}
        first = next(iter(lengths.values()))
        check_overlap([x for name, x in windows.inputs.items() if lengths[name] == first], side)
        warn_of_copies(str(self.root), windows.keys, side)
        leave_out_empty(samples.presence, side)
        return {split: chosen[side[chosen] != ""] for split, chosen in rows.items()}

    def describe(self, samples: Samples, rows: SplitRows) -> str:
        """Channels with units and rates, classes, windows and groups of each split."""
        return describe(self.root, self._windows, _sides(rows, len(samples.groups)))

    @property
    def conversion(self) -> str | None:
        """How gaps are filled and what is derived; None where a class of somebody's own derives it."""
        recipe = self._derivation.recipe
        return None if recipe is None else f"{self.on_missing} {self.max_gap} {recipe}"

    def convert(self, batch: Batch) -> Batch:
        """Floats, and the derived modalities."""
        batch = super().convert(batch)
        return {**batch, "inputs": self._derivation.inputs(batch["inputs"])}

    def _fill(self, windows: Stacked) -> tuple[dict[str, Rows], dict[str, NDArray[np.bool_]]]:
        """Each packed modality, and `(n,)` which windows have each that the model gets; empty if all have all."""
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
    """Split of each window, `(n,)`; empty where it is not used."""
    side = np.full(windows, "", "<U5")
    for split in SPLITS:
        side[rows[split]] = split
    return side
