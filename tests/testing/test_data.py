"""The data modules' contract: each law finds a data module that breaks it, and none of ours does.

Data modules of signals are tried in `test_readers.py`, with every reader.
"""

import inspect
import json
from functools import partial

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import fusionlit.data
from fusionlit.data import (
    ArrayDataModule,
    FoldSplit,
    FractionSplit,
    FusionDataModule,
    GroupedDataModule,
    LastFramesSplit,
    RefitSplit,
    ReplicatorDataModule,
    Samples,
    SignalDataModule,
    make_targets,
)
from fusionlit.testing import BrokenLawError, check_data, data
from fusionlit.types import ChannelStatistics, TargetSpec

N = 48
SPLIT = FractionSplit(0.5, 0.25, 0.25)
TARGETS = {
    "multiclass": np.arange(N) % 3,
    "binary": np.arange(N) % 2 == 0,
    "multilabel": np.stack([np.arange(N) % 2, np.arange(N) % 3 == 0], 1).astype(np.int64),
    "regression": np.linspace(0, 1, N, dtype=np.float32),
}


@pytest.fixture
def arrays(tmp_path):
    """Write an NPZ file of arrays with groups, absent samples, tokens, and a target of one kind."""

    def write(kind):
        rng = np.random.default_rng(0)
        image = rng.normal(size=(N, 2, 4, 4))
        there = np.arange(N) % 5 > 0
        image[~there] = np.nan
        inputs = {"image": image, "vector": rng.integers(0, 255, (N, 3), np.uint8), "text": rng.integers(0, 9, (N, 6))}
        groups = np.arange(N) // 2
        np.savez(tmp_path / "a.npz", **inputs, target=TARGETS[kind], groups=groups, presence_image=there)
        return tmp_path / "a.npz"

    return write


@pytest.mark.parametrize("kind", TARGETS)
def test_arrays_keep_every_law(arrays, kind):
    check_data(partial(ArrayDataModule, arrays(kind), kinds={"text": "tokens"}, split=SPLIT, batch_size=5))


@pytest.mark.parametrize("cache_on_device", [False, True])
@pytest.mark.parametrize(("task", "binary"), [("shape", False), ("shape", True), ("position", False)])
def test_frames_keep_every_law(rendered, task, binary, cache_on_device):
    options = {"split": SPLIT, "batch_size": 5, "cache_on_device": cache_on_device}
    check_data(partial(ReplicatorDataModule, rendered / task, task, binary=binary, **options))


@pytest.mark.parametrize(
    "split", [RefitSplit(SPLIT), FoldSplit(4, 1), LastFramesSplit(6, test_on_validation=True)], ids=str
)
@pytest.mark.filterwarnings("ignore:Testing on the validation frames")
def test_every_split_keeps_every_law(rendered, split):
    check_data(partial(ReplicatorDataModule, rendered / "shape", split=split))


@pytest.mark.parametrize("kind", TARGETS)
def test_data_without_groups_keeps_every_law(planted, kind):
    check_data(partial(planted, kind, size=24, presence=True))


def test_none_of_ours_is_left_out():
    offered = [getattr(fusionlit.data, name) for name in fusionlit.data.__all__]
    modules = {o for o in offered if inspect.isclass(o) and issubclass(o, FusionDataModule)}
    concrete = {module for module in modules if not inspect.isabstract(module)}
    assert concrete == {ArrayDataModule, ReplicatorDataModule, SignalDataModule}


class Own(GroupedDataModule):
    """What the broken ones are made from; it breaks no law."""

    def __init__(self):
        super().__init__(SPLIT, batch_size=5)

    def samples(self):
        x = np.random.default_rng(0).normal(size=(N, 3, 4)).astype(np.float32)
        return Samples({"x": x}, make_targets(np.arange(N) % 2), [f"g{i // 2}" for i in range(N)])


def test_the_grouped_one_itself_keeps_every_law():
    check_data(Own)


class NoData:
    pass


class LearnsItsSize(Own):
    @property
    def modalities(self):
        return {"x": (3, 4 if self._datasets else 5)}


class WrongShape(Own):
    @property
    def modalities(self):
        return {"x": (4, 3)}


class Half(Own):
    def convert(self, batch):
        return {**batch, "inputs": {"x": batch["inputs"]["x"].half()}}


class Gaps(Own):
    def convert(self, batch):
        batch = super().convert(batch)
        batch["inputs"]["x"][batch["index"] == 7] = torch.nan
        return batch


class NothingThere(Own):
    def convert(self, batch):
        return {**super().convert(batch), "presence": {"x": batch["index"] != 7}}


class PresenceOfOnes(Own):
    def convert(self, batch):
        return {**super().convert(batch), "presence": {"x": torch.ones(len(batch["index"]))}}


class OtherClasses(Own):
    def convert(self, batch):
        return {**super().convert(batch), "target": batch["target"] + 1}


class LosesTheTarget(Own):
    def convert(self, batch):
        return {key: value for key, value in super().convert(batch).items() if key != "target"}


class NumbersEachSplit(Own):
    def convert(self, batch):
        return {**super().convert(batch), "index": batch["index"] % 6}


class NumbersAnew(Own):
    def convert(self, batch):
        self.calls = getattr(self, "calls", 0) + 1
        return {**super().convert(batch), "index": batch["index"] + N * self.calls}


class Noisy(Own):
    rng = torch.Generator().manual_seed(0)

    def convert(self, batch):
        batch = super().convert(batch)
        batch["inputs"]["x"] += torch.randn(batch["inputs"]["x"].shape, generator=self.rng)
        return batch


class InOrder(Own):
    def train_dataloader(self):
        return self._loader("train", shuffle=False)


class ByItsOwnSeed(Own):
    """Its first epochs are always the same, whatever the global seed."""

    def __init__(self):
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def train_dataloader(self):
        loader = super().train_dataloader()
        order = torch.randperm(len(loader.dataset), generator=self.generator).tolist()
        return DataLoader(loader.dataset, 5, sampler=order, collate_fn=loader.collate_fn)


class DropsTheLast(Own):
    def val_dataloader(self):
        loader = super().val_dataloader()
        return DataLoader(loader.dataset, 5, drop_last=True, collate_fn=loader.collate_fn)


class RepeatsTheFirst(Own):
    def train_dataloader(self):
        loader = super().train_dataloader()
        order = [0, *torch.randperm(len(loader.dataset)).tolist()]
        return DataLoader(loader.dataset, 5, sampler=order, collate_fn=loader.collate_fn)


class ShufflesTests(Own):
    def test_dataloader(self):
        return self._loader("test", shuffle=True)


class TearsGroups(Own):
    def check_split(self, samples, rows):
        train, val = rows["train"], rows["val"]
        return {**rows, "train": np.sort([*train[1:], val[0]]), "val": np.sort([train[0], *val[1:]])}


class CountsAll(Own):
    def class_counts(self):
        return self._opened().targets.values.bincount()


class StatisticsOfAll(Own):
    def input_statistics(self):
        x = torch.from_numpy(self.samples().inputs["x"]).transpose(0, 1).flatten(1)
        return {"x": ChannelStatistics(x.mean(1), x.std(1))}


class CountsCalls(Own):
    """What a worker does to it stays there."""

    def dataset(self, split):
        dataset = super().dataset(split)
        return dataset if self.num_workers == 0 else Moved(dataset)


class Moved(torch.utils.data.Dataset):
    def __init__(self, dataset):
        self.rows = dataset

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        sample = self.rows[i]
        return {**sample, "inputs": {"x": sample["inputs"]["x"] + 1}}


class HoldsAFunction(Own):
    def __init__(self):
        super().__init__()
        self.scale = lambda x: 2 * x


class EveryStage(Own):
    stage = "fit"

    def setup(self, stage):
        super().setup(stage)
        self.stage = stage

    def convert(self, batch):
        batch = super().convert(batch)
        return batch if self.stage == "fit" else {**batch, "inputs": {"x": 2 * batch["inputs"]["x"]}}


class WritesNothing(Own):
    def setup(self, stage):
        self.write_split = None
        super().setup(stage)


class WritesAnother(Own):
    def setup(self, stage):
        super().setup(stage)
        if self.write_split:
            lists = json.loads(self.write_split.read_text())
            lists["train"], lists["test"] = lists["test"], lists["train"]
            self.write_split.write_text(json.dumps(lists))


class WithoutOutput(Own):
    @property
    def target(self):
        return TargetSpec("multiclass", 0)


BROKEN = [
    (NoData, data.it_is_a_data_module),
    (LearnsItsSize, data.sizes_are_known_before_setup),
    (WithoutOutput, data.sizes_are_known_before_setup),
    (WrongShape, data.every_batch_fits_the_specs),
    (Half, data.every_batch_fits_the_specs),
    (Gaps, data.every_batch_fits_the_specs),
    (NothingThere, data.every_batch_fits_the_specs),
    (PresenceOfOnes, data.every_batch_fits_the_specs),
    (OtherClasses, data.targets_fit_the_spec),
    (LosesTheTarget, data.targets_fit_the_spec),
    (NumbersEachSplit, data.index_names_one_sample),
    (NumbersAnew, data.index_names_one_sample),
    (Noisy, data.instances_are_equal),
    (InOrder, data.training_is_shuffled_by_the_seed),
    (ByItsOwnSeed, data.training_is_shuffled_by_the_seed),
    (RepeatsTheFirst, data.index_names_one_sample),
    (DropsTheLast, data.evaluation_is_whole_and_in_order),
    (ShufflesTests, data.evaluation_is_whole_and_in_order),
    (TearsGroups, data.no_group_is_torn_apart),
    (CountsAll, data.class_counts_are_those_of_training),
    (StatisticsOfAll, data.input_statistics_are_those_of_training),
    (CountsCalls, data.a_worker_loads_the_same),
    (HoldsAFunction, data.it_can_be_pickled),
    (EveryStage, data.a_second_setup_changes_nothing),
    (WritesNothing, data.a_written_split_is_read),
    (WritesAnother, data.a_written_split_is_read),
]


@pytest.mark.parametrize(("broken", "law"), BROKEN)
def test_each_law_finds_a_data_module_that_breaks_it(broken, law):
    with pytest.raises(BrokenLawError) as error:
        check_data(broken)
    assert error.value.law is law


def test_the_same_one_twice_is_no_factory():
    one = Own()
    with pytest.raises(BrokenLawError, match="it was the same one twice"):
        check_data(lambda: one)


def test_no_law_is_without_a_broken_data_module():
    assert {law for _, law in BROKEN} == set(data.LAWS)
