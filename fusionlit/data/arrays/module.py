"""Arrays that are ready: an NPZ file with an array per modality, and a target."""

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
"""Name of the array that tells which split each sample belongs to."""


class ArrayDataModule(GroupedDataModule):
    """An NPZ file (`numpy.savez`) with an array `(n, *shape)` per modality, of any shape, and a target.

    Vectors (text embeddings), sequences `(n, channels, time)`, maps `(n, channels, height, width)`: whatever has the
    samples first. Other arrays that it knows, all `(n,)`:

    - `groups` (text or integers): what a split must not tear apart, such as subjects; else every sample is a group;
    - `split` (text `train`, `val`, `test`): the file's own split, taken when `split` is not given;
    - `presence_<modality>` (bool): false where a sample lacks the modality; its values there may be anything.

    The kind of the target, unless given, follows the array: integers or text `(n,)` are `multiclass`, also with two
    classes; bool `(n,)` is `binary`; 0 and 1, or bool, `(n, labels)` are `multilabel`; floats `(n,)` or `(n, outputs)`
    are `regression`. Labels are numbered from 0 in sorted order, numbers by value, and are the names of the classes.

    Sizes come from the headers of the file; only the target is read before `setup`. Values travel in the file's own
    type; the model gets float32, where float64 loses digits, and tokens as int64.

    Args:
        path: The NPZ file.
        modalities: Names of the arrays to fuse; default: all but the ones above.
        target: Name of the target's array.
        kind: What the target means; default: see above.
        kinds: What each array is, where its shape does not say so: `depth` or `points` `(channels, height, width)`,
            `sequence` `(features, steps)`, or `tokens` `(length,)`; by default arrays are pictures, signals or vectors,
            by their dimensions.
        groups: Name of the array of groups; default: `groups`, if there is one.
        split: Which groups train, validate and test; default: the file's own `split`, or else `FractionSplit()`.
        write_split: JSON file to which `setup` writes the groups of each split, for `FileSplit`.
        augmentation: Varies signals `(channels, time)` or pictures `(channels, height, width)` in training.
        batch_size: Samples per batch, per process.
        num_workers: Processes that load data; 0 loads in the main process.
        cache_on_device: Hold the whole data set in the device's memory.

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
        """By each modality's array, without the samples."""
        return self._modalities

    @property
    def target(self) -> TargetSpec:
        """By the target's array."""
        return self._targets.spec

    def samples(self) -> Samples:
        """Arrays mapped from the file, or read.

        Raises:
            DataError: If a value is NaN or infinite where the modality is present, or an array is not as expected.
        """
        n = len(self._targets.values)
        read = {name: read_modality(self._file, name) for name in self._modalities}
        presence = {name: there for name, (_, there) in read.items()}
        names = self._file.read_names(self._groups, n) if self._groups else [str(row) for row in range(n)]
        own = self._file.read_names(OFFICIAL, n) if self._official else None
        return Samples(
            {name: values for name, (values, _) in read.items()},
            self._targets,
            names,
            {} if all(there.all() for there in presence.values()) else presence,
            cast(list[Split] | None, own),
            source=str(self.path),
        )

    def _read_target(self, name: str, kind: TargetKind | None) -> Targets:
        values = self._file.read(name)
        targets = make_targets(values, kind, self._file.where(name))
        if kind is None:
            rank_zero_info(
                f"{self._file.where(name)}: {values.shape} {values.dtype} is taken for a {targets.spec.kind} target of"
                f" size {targets.spec.size}. Set `kind` if it means something else."
            )
        return targets

    def _find_modalities(
        self, asked: list[str] | None, beside: set[str | None], kinds: dict[str, ModalityKind]
    ) -> dict[str, ModalitySpec]:
        headers, samples = self._file.headers, len(self._targets.values)
        names = asked or [name for name in headers if name not in beside and not name.startswith(PRESENCE)]
        if not names:
            raise DataError(f"{self.path}: expected an array per modality beside the target, but got {list(headers)}.")
        check_presence(self._file, samples)
        if unknown := sorted(set(kinds) - set(names)):
            raise ConfigError(f"Expected `kinds` to name modalities, {names}, but got {unknown}.")
        return {name: find_spec(self._file, name, samples, kinds.get(name)) for name in names}
