"""What a data module of fusionlit is."""

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
    """A Lightning data module that knows, once constructed and without reading its data set, what sizes a model needs.

    A subclass gives `modalities`, `target` and `dataset(split)`, whose items are samples of a `Batch` without the batch
    dimension; unlabelled data, which can be predicted alone, has no target in it.
    its `__getitems__`, if it has one, may give a whole `Batch`. Small raw values travel; `convert`
    makes floats of them on the device. Validation and test lose no sample and, under DDP, repeat none.

    Args:
        batch_size: Samples per batch, per process.
        num_workers: Processes that load data; 0 loads in the main process.
        augmentation: Varies training batches after `convert`, differently in every epoch, batch and process; the
            global seed decides how, also when a run is resumed.
        cache_on_device: Hold the whole data set, raw as it is stored, in the device's memory, from where batches are
            gathered; only for data sets that are an `ArrayDataset`.
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
        """What each modality is after `convert`, or its bare shape without the batch."""

    @property
    def target(self) -> TargetSpec | None:
        """What is to be predicted; None for unlabelled data."""
        return None

    @property
    def rays(self) -> dict[str, torch.Tensor]:
        """Unit directions `(3, H, W)` of the pixels of each modality of points, where the sensor is known."""
        return {}

    @property
    def validates(self) -> bool:
        """Whether there is a validation split; where `split` is a `RefitSplit` there is none."""
        split = getattr(self, "split", None)
        return not isinstance(split, GroupSplit) or split.validates

    @abstractmethod
    def dataset(self, split: Split) -> Dataset[Any]:
        """The data set of one split; `setup` has run before."""

    def statistics_file(self) -> Path | None:
        """Where the input statistics are kept, a name for all that they depend on; None: they are always computed."""
        return None

    def pack(self) -> Pack | None:
        """Bring the data ahead into the form that is gathered fastest; None where it is read as it lies."""
        return None

    def prepare_data(self) -> None:
        """Pack the data; Lightning lets one process of each node do it, before any calls `setup`."""
        self.pack()

    def convert(self, batch: Batch) -> Batch:
        """Make floats of all but tokens; runs on the batch after its transfer to the device."""
        if self._tokens is None:
            self._tokens = {name for name, spec in as_specs(self.modalities).items() if spec.whole_numbers}
        inputs = {name: x.long() if name in self._tokens else x.float() for name, x in batch["inputs"].items()}
        return {**batch, "inputs": inputs}

    def class_counts(self) -> torch.Tensor | None:
        """Training samples of each class (binary: of both; multilabel: that have each label), known after `setup`.

        None where classes make no sense.
        """
        return None

    def input_statistics(self) -> dict[str, ChannelStatistics]:
        """Mean and standard deviation of every channel over the training split, of modalities to be normalised.

        Raises:
            DataError: If no training sample has a modality, one that is there is not finite, or `convert` gives
                something else than `modalities` says.
        """
        # Drawn also where nothing is computed, so that the random numbers of training are the same.
        seed = int(torch.empty((), dtype=torch.int64).random_().item())
        return kept(self.statistics_file(), lambda: self._computed_statistics(seed)) if self._normalised else {}

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Convert the batch on its device, vary it in training, then follow the trainer's precision."""
        if self._arrays is not None and not batch["inputs"]:
            batch = self._on_device(self._arrays, batch["index"].device).fill(batch)
        batch = self._converted(batch)
        if self.trainer is None:
            return batch
        if self.augmentation is not None and self.trainer.training:
            # Nothing but where the training stands, so that a resumed run goes on as the unbroken one would have.
            done = self.trainer.fit_loop.batch_idx + 1
            seed = (torch.initial_seed(), self.trainer.current_epoch, done, self.trainer.global_rank)
            batch = {**batch, "inputs": self.augmentation(batch["inputs"], seed)}
        convert_input = self.trainer.precision_plugin.convert_input
        inputs = convert_input(batch["inputs"])
        check_dtypes(inputs, convert_input(torch.zeros(0)).dtype)
        return {**batch, "inputs": inputs}

    def teardown(self, stage: str) -> None:
        """Give the device's memory back."""
        self._device_cache = None

    def check_augmentation(self) -> None:
        """Refuse data that the augmentation cannot vary; a constructor that calls it says so before any training.

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
        """Every sample of the validation split, once; in training nothing, where there is no such split.

        Raises:
            ConfigError: If there is no such split, and it is not training that asks.
        """
        if self.validates:
            return self._loader("val", shuffle=False)
        if self.trainer is not None and self.trainer.state.fn == TrainerFn.FITTING:
            return []
        raise ConfigError(
            f"There is nothing to validate on, since {getattr(self, 'split', None)} trains on the validation groups"
            " too. Use `fusionlit test`."
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
        # Every process reads the whole split: a distributed sampler would give each its own statistics.
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
                f"Expected `convert` of {type(self).__name__} to give the batch, a dict, but got"
                f" {type(batch).__name__}. Write `return {{**batch, 'inputs': inputs}}`."
            )
        types = {"inputs": dict, "index": torch.Tensor, "target": torch.Tensor}
        if not all(isinstance(batch.get(key), kind) for key, kind in types.items() if key in batch or key != "target"):
            held = {key: type(value).__name__ for key, value in batch.items()}
            raise DataError(
                "Expected a batch to hold `inputs`, a dict by name, and numbers as `index` and, where it is known,"
                f" `target`, but it holds {held}. Make the samples of `dataset` so."
            )
        return cast(Batch, batch)

    def _on_device(self, dataset: ArrayDataset, device: torch.device) -> DeviceCache:
        if self._device_cache is None or self._device_cache.device != device:
            self._device_cache = None  # before the next takes room too
            self._device_cache = DeviceCache(dataset, device)
        return self._device_cache

    def _loader(self, split: Split, *, shuffle: bool) -> DataLoader[Any]:
        dataset = self.dataset(split)
        if self.cache_on_device:
            if type(dataset) is not ArrayDataset:  # one derived from it may make other samples of the arrays
                raise ConfigError(
                    f"Expected `cache_on_device` with data sets that are an ArrayDataset, but {type(self).__name__} has"
                    f" {type(dataset).__name__}. Leave it out, or make one of your arrays."
                )
            self._arrays = self._arrays or dataset
            if not dataset.shares_arrays(self._arrays):
                raise ConfigError(
                    f"Expected `cache_on_device` with splits that share their arrays, but {type(self).__name__} has"
                    f" others for {split!r}. Leave it out, or join the arrays, and give each split its rows."
                )
            dataset = SampleNumbers(dataset)
        rank, processes = (self.trainer.global_rank, self.trainer.world_size) if self.trainer is not None else (0, 1)
        return make_loader(dataset, shuffle, self.batch_size, self.num_workers, rank, processes)


def check_dtypes(inputs: Mapping[str, torch.Tensor], expected: torch.dtype) -> None:
    """Refuse real numbers that are not of the type that the trainer's precision asks for; whole ones may be tokens.

    Raises:
        DataError: If some are not.
    """
    if wrong := {name: x.dtype for name, x in inputs.items() if x.is_floating_point() and x.dtype != expected}:
        raise DataError(f"Expected `inputs` of {expected}, but got {wrong}. Make them `.float()` in `convert`.")
