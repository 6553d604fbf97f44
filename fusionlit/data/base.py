"""Base class of data modules."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from lightning import LightningDataModule
from lightning.pytorch.trainer.states import TrainerFn
from torch.utils.data import DataLoader, Dataset

from fusionlit.console import progress
from fusionlit.contracts import Whole
from fusionlit.data.array_dataset import ArrayDataset
from fusionlit.data.assignment import GroupSplit
from fusionlit.data.augment import Augmentation
from fusionlit.data.device_cache import DeviceCache, SampleNumbers
from fusionlit.data.loaders import collate, make_loader
from fusionlit.data.statistics import channel_statistics, kept
from fusionlit.errors import ConfigError, DataError
from fusionlit.storage.pack import Pack
from fusionlit.types import Batch, ChannelStatistics, Modalities, ModalitySpec, Split, TargetSpec, as_specs


class FusionDataModule(LightningDataModule, Whole, ABC):
    """A Lightning data module that knows the sizes a model needs as soon as it is constructed.

    A subclass implements `modalities`, `target` and `dataset(split)`, whose items are samples of a `Batch` without the
    batch dimension; its `__getitems__`, if any, may return a whole `Batch`. Unlabelled data has no target, and can only
    be predicted. Batches are transferred in their compact stored form; `convert` turns them into floats on the device.
    Validation and test use every sample exactly once, also with DDP.

    Args:
        batch_size: Samples per batch, per process.
        num_workers: Worker processes that load data; 0 loads in the main process.
        augmentation: Augmentation of training batches after `convert`, different in every epoch, batch and process;
            determined by the global seed, also when a run is resumed.
        cache_on_device: Keep the whole data set, in its stored form, in device memory, and gather batches there; only
            for data sets of type `ArrayDataset`.
    """

    def __init__(
        self,
        batch_size: int = 32,
        num_workers: int = 0,
        augmentation: Augmentation | None = None,
        cache_on_device: bool = False,
    ) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.augmentation = augmentation
        self.cache_on_device = cache_on_device
        self._arrays: ArrayDataset | None = None
        self._device_cache: DeviceCache | None = None
        self._tokens: set[str] | None = None

    @property
    @abstractmethod
    def modalities(self) -> Modalities:
        """Spec of each modality after `convert`, or only its shape, without the batch dimension."""

    @property
    def target(self) -> TargetSpec | None:
        """Prediction target; None for unlabelled data."""
        return None

    @property
    def rays(self) -> dict[str, torch.Tensor]:
        """Unit directions `(3, H, W)` of the pixels of each modality of kind `points`, if its sensor is known."""
        return {}

    @property
    def validates(self) -> bool:
        """Whether there is a validation split; false if `split` is a `RefitSplit`."""
        split = getattr(self, "split", None)
        return not isinstance(split, GroupSplit) or split.validates

    @abstractmethod
    def dataset(self, split: Split) -> Dataset[Any]:
        """The data set of one split; called after `setup`."""

    def statistics_file(self) -> Path | None:
        """File that stores the input statistics, named after everything they depend on; None: never stored."""
        return None

    def pack(self) -> Pack | None:
        """Prepare the data in the form that is gathered fastest; None if its files are read directly."""
        return None

    def prepare_data(self) -> None:
        """Pack the data; Lightning calls this in one process per node, before `setup`."""
        self.pack()

    def convert(self, batch: Batch) -> Batch:
        """Convert all inputs except tokens to floats; runs after the transfer to the device."""
        if self._tokens is None:
            self._tokens = {name for name, spec in as_specs(self.modalities).items() if spec.whole_numbers}
        inputs = {name: x.long() if name in self._tokens else x.float() for name, x in batch["inputs"].items()}
        return {**batch, "inputs": inputs}

    def class_counts(self) -> torch.Tensor | None:
        """Number of training samples per class (multilabel: per label), after `setup`; two numbers for `binary`.

        None for targets without classes.
        """
        return None

    def input_statistics(self) -> dict[str, ChannelStatistics]:
        """Mean and standard deviation of every channel over the training split, for modalities to be normalised.

        Raises:
            DataError: If no training sample has a modality, a value is not finite, or the result of `convert` does not
                match `modalities`.
        """
        # Drawn even if the statistics are stored, so that the random numbers of training are the same.
        seed = int(torch.empty((), dtype=torch.int64).random_().item())
        return kept(self.statistics_file(), lambda: self._computed_statistics(seed)) if self._normalised else {}

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Convert the batch on its device, augment it in training, then cast it to the trainer's precision."""
        if self._arrays is not None and not batch["inputs"]:
            batch = self._on_device(self._arrays, batch["index"].device).fill(batch)
        batch = self._converted(batch)
        if self.trainer is None:
            return batch
        if self.augmentation is not None and self.trainer.training:
            # Depends only on the progress of training, so that a resumed run equals an uninterrupted one.
            done = self.trainer.fit_loop.batch_idx + 1
            seed = (torch.initial_seed(), self.trainer.current_epoch, done, self.trainer.global_rank)
            batch = {**batch, "inputs": self.augmentation(batch["inputs"], seed)}
        convert_input = self.trainer.precision_plugin.convert_input
        inputs = convert_input(batch["inputs"])
        check_dtypes(inputs, convert_input(torch.zeros(0)).dtype)
        return {**batch, "inputs": inputs}

    def teardown(self, stage: str) -> None:
        """Free the device memory."""
        self._device_cache = None

    def check_augmentation(self) -> None:
        """Check that the augmentation fits the data; call it in the constructor to fail before any training.

        Raises:
            ConfigError: If the augmentation does not fit.
        """
        if self.augmentation is not None:
            self.augmentation.check(as_specs(self.modalities), self.target, self.rays)

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled batches of the training split."""
        self.check_augmentation()
        return self._loader("train", shuffle=True)

    def val_dataloader(self) -> DataLoader[Any] | list[DataLoader[Any]]:
        """Every sample of the validation split, once; during training empty if there is no such split.

        Raises:
            ConfigError: If there is no such split, except during training.
        """
        if self.validates:
            return self._loader("val", shuffle=False)
        if self.trainer is not None and self.trainer.state.fn == TrainerFn.FITTING:
            return []
        raise ConfigError(
            f"Expected a validation split, but {getattr(self, 'split', None)} also trains on the validation groups. Use"
            " `fusionlit test`."
        )

    def test_dataloader(self) -> DataLoader[Any]:
        """Every sample of the test split, once."""
        return self._loader("test", shuffle=False)

    def predict_dataloader(self) -> DataLoader[Any]:
        """Every sample of the test split, once."""
        return self.test_dataloader()

    @property
    def _normalised(self) -> dict[str, ModalitySpec]:
        return {name: spec for name, spec in as_specs(self.modalities).items() if spec.normalize}

    def _computed_statistics(self, seed: int) -> dict[str, ChannelStatistics]:
        # Every process reads the whole split: with a distributed sampler, each would get different statistics.
        loader = DataLoader(
            self.dataset("train"),
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            collate_fn=collate,
            generator=torch.Generator().manual_seed(seed),
        )
        batches = map(self._converted, progress(loader, "input statistics"))
        return channel_statistics(batches, self._normalised)

    def _converted(self, raw: Batch) -> Batch:
        batch: object = self.convert(raw)
        if not isinstance(batch, dict):
            raise DataError(
                f"Expected `convert` of {type(self).__name__} to return the batch, a dict, but got"
                f" {type(batch).__name__}. Write `return {{**batch, 'inputs': inputs}}`."
            )
        types = {"inputs": dict, "index": torch.Tensor, "target": torch.Tensor}
        if not all(isinstance(batch.get(key), kind) for key, kind in types.items() if key in batch or key != "target"):
            held = {key: type(value).__name__ for key, value in batch.items()}
            raise DataError(
                "Expected a batch with `inputs`, a dict by name, and tensors `index` and, for labelled data, `target`,"
                f" but got {held}. Correct the samples of `dataset`."
            )
        return cast(Batch, batch)

    def _on_device(self, dataset: ArrayDataset, device: torch.device) -> DeviceCache:
        if self._device_cache is None or self._device_cache.device != device:
            self._device_cache = None  # frees its memory before the next is allocated
            self._device_cache = DeviceCache(dataset, device)
        return self._device_cache

    def _loader(self, split: Split, *, shuffle: bool) -> DataLoader[Any]:
        dataset = self.dataset(split)
        if self.cache_on_device:
            if type(dataset) is not ArrayDataset:  # a subclass may compute other samples from the arrays
                raise ConfigError(
                    f"Expected data sets of type ArrayDataset for `cache_on_device`, but {type(self).__name__} has"
                    f" {type(dataset).__name__}. Leave `cache_on_device` out, or use ArrayDataset."
                )
            self._arrays = self._arrays or dataset
            if not dataset.shares_arrays(self._arrays):
                raise ConfigError(
                    f"Expected splits that share their arrays for `cache_on_device`, but {type(self).__name__} has"
                    f" other arrays for {split!r}. Leave `cache_on_device` out, or join the arrays and give each split"
                    " its rows."
                )
            dataset = SampleNumbers(dataset)
        rank, processes = (self.trainer.global_rank, self.trainer.world_size) if self.trainer is not None else (0, 1)
        return make_loader(dataset, shuffle, self.batch_size, self.num_workers, rank, processes)


def check_dtypes(inputs: Mapping[str, torch.Tensor], expected: torch.dtype) -> None:
    """Raise DataError unless all floating-point inputs have the data type of the trainer's precision.

    Raises:
        DataError: If some do not; integer inputs, such as tokens, are not checked.
    """
    if wrong := {name: x.dtype for name, x in inputs.items() if x.is_floating_point() and x.dtype != expected}:
        raise DataError(f"Expected {expected} in `inputs`, but got {wrong}. Convert them with `.float()` in `convert`.")
