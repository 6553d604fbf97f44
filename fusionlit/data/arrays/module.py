"""Data module of ready-made arrays: an NPZ file with one array per modality, and a target."""

from pathlib import Path
from typing import cast

from lightning.pytorch.utilities import rank_zero_info

from fusionlit.data.arrays.samples import PRESENCE, check_presence, find_spec, read_modality
from fusionlit.data.assignment import GroupSplit
from fusionlit.data.augment import Augmentation
from fusionlit.data.grouped import GroupedDataModule
from fusionlit.data.samples import Samples
from fusionlit.data.targets import Targets, make_targets
from fusionlit.errors import ConfigError, DataError
from fusionlit.storage.npz import NpzFile
from fusionlit.types import ModalityKind, ModalitySpec, Split, TargetKind, TargetSpec

OFFICIAL = "split"
"""Name of the array that contains the split of each sample."""


class ArrayDataModule(GroupedDataModule):
    """Read an NPZ file (`numpy.savez`) with an array `(n, *shape)` per modality, of any shape, and a target.

    Any array with the samples in the first dimension can be a modality: vectors (such as text embeddings), signals
    `(n, channels, time)`, images `(n, channels, height, width)`. Arrays with a special meaning, all `(n,)`:

    - `groups` (text or integers): samples to keep in the same split, such as those of a subject; otherwise every sample
      is a group;
    - `split` (text `train`, `val`, `test`): the official split, used unless `split` is given;
    - `presence_<modality>` (bool): false where the modality is missing; its values there are ignored.

    By default the kind of the target follows from its array: integers or text `(n,)` are `multiclass`, also with two
    classes; bool `(n,)` is `binary`; 0 and 1, or bool, `(n, labels)` are `multilabel`; floats `(n,)` or `(n, outputs)`
    are `regression`. Labels become class names; classes are numbered from 0 in sorted order, numbers by value.

    Sizes come from the headers of the file; only the target is read before `setup`. Batches are transferred in the
    stored data type; the model gets float32 (float64 loses precision), and tokens as int64.

    Args:
        path: The NPZ file.
        modalities: Names of the arrays to fuse; default: all except those above and the target.
        target: Name of the array of targets.
        kind: Kind of the target; default: see above.
        kinds: Modality kinds that do not follow from the shape: `depth` or `points` `(channels, height, width)`,
            `sequence` `(features, steps)`, or `tokens` `(length,)`; by default arrays are images, signals or vectors,
            by their number of dimensions.
        groups: Name of the array of groups; default: `groups`, if present.
        split: Assignment of groups to training, validation and test; default: the official `split`, or else
            `FractionSplit()`.
        write_split: JSON file to which `setup` writes the groups of each split, for `FileSplit`.
        augmentation: Augmentation of signals `(channels, time)` or images `(channels, height, width)` in training.
        batch_size: Samples per batch, per process.
        num_workers: Worker processes that load data; 0 loads in the main process.
        cache_on_device: Keep the whole data set in device memory.

    Raises:
        DataError: If the file is not an NPZ file, or an array is not as described above.
        ConfigError: If an array named here is not in the file, or `augmentation` does not fit.
    """

    def __init__(
        self,
        path: Path,
        modalities: list[str] | None = None,
        target: str = "target",
        kind: TargetKind | None = None,
        kinds: dict[str, ModalityKind] | None = None,
        groups: str | None = None,
        split: GroupSplit | None = None,
        write_split: Path | None = None,
        augmentation: Augmentation | None = None,
        batch_size: int = 32,
        num_workers: int = 0,
        cache_on_device: bool = False,
    ) -> None:
        super().__init__(split, write_split, batch_size, num_workers, augmentation, cache_on_device)
        self.path = Path(path)
        self._file = NpzFile(self.path)
        self._file.require("target", [target])
        self._file.require("groups", [groups] if groups else [])
        self._file.require("modalities", modalities or [])
        self._targets = self._read_target(target, kind)
        self._groups = groups or ("groups" if "groups" in self._file.headers else None)
        self._official = OFFICIAL in self._file.headers
        self._modalities = self._find_modalities(modalities, {target, self._groups, OFFICIAL}, kinds or {})
        self.check_augmentation()

    @property
    def modalities(self) -> dict[str, ModalitySpec]:
        """Spec of each modality, from the header of its array."""
        return self._modalities

    @property
    def target(self) -> TargetSpec:
        """Target, from its array."""
        return self._targets.spec

    def samples(self) -> Samples:
        """All samples, memory-mapped if the file allows it.

        Raises:
            DataError: If a value is NaN or infinite where the modality is present, or an array is not as expected.
        """
        n = len(self._targets.values)
        read = {name: read_modality(self._file, name) for name in self._modalities}
        presence = {name: present for name, (_, present) in read.items()}
        names = self._file.read_names(self._groups, n) if self._groups else [str(row) for row in range(n)]
        own = self._file.read_names(OFFICIAL, n) if self._official else None
        return Samples(
            {name: values for name, (values, _) in read.items()},
            self._targets,
            names,
            {} if all(present.all() for present in presence.values()) else presence,
            cast(list[Split] | None, own),
            source=str(self.path),
        )

    def _read_target(self, name: str, kind: TargetKind | None) -> Targets:
        values = self._file.read(name)
        targets = make_targets(values, kind, self._file.where(name))
        if kind is None:
            rank_zero_info(
                f"{self._file.where(name)}: {values.shape} {values.dtype} is interpreted as a {targets.spec.kind}"
                f" target of size {targets.spec.size}. Set `kind` if this is wrong."
            )
        return targets

    def _find_modalities(
        self, asked: list[str] | None, others: set[str | None], kinds: dict[str, ModalityKind]
    ) -> dict[str, ModalitySpec]:
        headers, samples = self._file.headers, len(self._targets.values)
        names = asked or [name for name in headers if name not in others and not name.startswith(PRESENCE)]
        if not names:
            raise DataError(f"{self.path}: expected an array per modality and the target, but got {list(headers)}.")
        check_presence(self._file, samples)
        if unknown := sorted(set(kinds) - set(names)):
            raise ConfigError(f"Expected `kinds` to name modalities, {names}, but got {unknown}.")
        return {name: find_spec(self._file, name, samples, kinds.get(name)) for name in names}
