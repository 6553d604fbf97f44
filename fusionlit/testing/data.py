"""The contract of a data module."""

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor
from torch.nn.functional import one_hot
from torch.utils.data import DataLoader

from fusionlit.contracts import check_inputs, check_presence, check_spec
from fusionlit.data import FileSplit, FusionDataModule, GroupedDataModule
from fusionlit.data.targets import class_names, is_class
from fusionlit.tasks import default_task
from fusionlit.testing.cases import name_of, reseed
from fusionlit.testing.laws import uphold
from fusionlit.types import SPLITS, Batch, Split, as_specs

SEEDS = range(4)
"""Seeds of training orders that are compared."""


def check_data(make: Callable[[], FusionDataModule]) -> None:
    """Try the laws of a data module, on data so small that all of it may be read many times.

    Args:
        make: Gives a new data module at every call, before `setup`, always of the same data: a partial of the class.
            It needs at least three samples in training and one in each other split.

    Raises:
        BrokenLawError: If a law is broken; the message says which, what came, and what to do.
    """
    uphold(DataCase(make), LAWS)


@dataclass(frozen=True)
class DataCase:
    """Data modules of one data set."""

    make: Callable[[], FusionDataModule]

    def __str__(self) -> str:
        return name_of(self.make)

    def ready(self) -> FusionDataModule:
        """A new data module after `setup`."""
        data = self.make()
        data.prepare_data()
        data.setup("fit")
        return data


def splits_of(data: FusionDataModule) -> list[Split]:
    """The splits that there are."""
    return [split for split in SPLITS if split != "val" or data.validates]


def batches(data: FusionDataModule, split: Split, seed: int = 0) -> list[Batch]:
    """An epoch of converted batches."""
    reseed(seed)
    loader = {"train": data.train_dataloader, "val": data.val_dataloader, "test": data.test_dataloader}[split]()
    assert isinstance(loader, DataLoader)
    return [data.on_after_batch_transfer(batch, 0) for batch in loader]


def order(data: FusionDataModule, split: Split, seed: int = 0) -> list[int]:
    """The index of each sample of an epoch, as they come."""
    return [int(index) for batch in batches(data, split, seed) for index in batch["index"]]


def differing(first: object, second: object) -> str | None:
    """Name of the first part of two batches that differs, or None."""
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        if first.keys() != second.keys():
            return f"{sorted(first.keys() ^ second.keys())}"
        pairs = ((key, differing(first[key], second[key])) for key in first)
        return next((f"{key}.{part}".rstrip(".") for key, part in pairs if part is not None), None)
    assert isinstance(first, Tensor)
    assert isinstance(second, Tensor)
    same = first.dtype == second.dtype and first.shape == second.shape
    return None if same and torch.allclose(first, second, rtol=0, atol=0, equal_nan=True) else ""


def compare(one: FusionDataModule, other: FusionDataModule) -> str | None:
    """What differs between an epoch of one data module and one of another, or None."""
    for split in splits_of(one):
        first, second = batches(one, split), batches(other, split)
        if len(first) != len(second):
            return f"{len(first)} and {len(second)} batches of {split}"
        for a, b in zip(first, second, strict=True):
            if (part := differing(a, b)) is not None:
                return f"`{part}` of {split}"
    return None


def it_is_a_data_module(case: DataCase) -> str | None:
    """A data module is a subclass of `fusionlit.data.FusionDataModule`, and its factory makes a new one each time."""
    made = case.make()
    if not isinstance(made, FusionDataModule):
        return f"it is a {type(made).__name__}."
    return "it was the same one twice. Give a partial of the class." if case.make() is made else None


def sizes_are_known_before_setup(case: DataCase) -> str | None:
    """`modalities` and `target` are known once it is constructed, valid, and the same after `setup`."""
    data = case.make()
    specs, target = as_specs(data.modalities), data.target
    if not specs:
        return "there are no modalities."
    for name, spec in specs.items():
        check_spec(name, spec)
    if target is not None and (target.size < 1 or (target.names and len(class_names(target)) < target.size)):
        return f"the target {target} has no output, or fewer names than outputs."
    ready = case.ready()
    if (as_specs(ready.modalities), ready.target) == (specs, target):
        return None
    return f"they were {specs}, {target}, and are {as_specs(ready.modalities)}, {ready.target}."


def every_batch_fits_the_specs(case: DataCase) -> str | None:
    """Inputs are float32, tokens int64, of the shapes in `modalities`, and finite where `presence` has the sample.

    Presence is bool `(B,)`, and every sample has some modality; `index` is int64 `(B,)`.
    """
    data = case.ready()
    specs = as_specs(data.modalities)
    for split in splits_of(data):
        for batch in batches(data, split):
            inputs, presence, index = batch["inputs"], batch.get("presence", {}), batch["index"]
            check_inputs(inputs, specs)
            check_presence(presence, inputs)
            some = torch.zeros(len(index), dtype=torch.bool)
            for name, spec in specs.items():
                x, there = inputs[name], presence.get(name, torch.ones(len(index), dtype=torch.bool))
                some |= there
                if x.dtype != (torch.int64 if spec.whole_numbers else torch.float32):
                    return f"{name!r} of {split} is {x.dtype}. Make it so in `convert`."
                if not x[there].isfinite().all():
                    return f"{name!r} of {split} has NaN or infinity where it is there. Say so in `presence`."
            if not some.all():
                return f"samples {index[~some].tolist()} of {split} have no modality at all. Leave them out."
            if index.dtype != torch.int64 or index.shape != (len(inputs[next(iter(specs))]),):
                return f"`index` of {split} is {index.dtype} {tuple(index.shape)}."
    return None


def targets_fit_the_spec(case: DataCase) -> str | None:
    """Targets have the shape and the values that the task of `target` accepts; without a `target` there are none."""
    data = case.ready()
    for split in splits_of(data):
        for batch in batches(data, split):
            if (data.target is None) != ("target" not in batch):
                return f"`target` is {data.target}, and batches of {split} hold {sorted(batch)}."
            if data.target is not None:
                prediction = torch.zeros(len(batch["index"]), data.target.size)
                default_task(data.target).loss(prediction, batch["target"])  # a new task checks its first batch
    return None


def index_names_one_sample(case: DataCase) -> str | None:
    """A sample has one `index`, in no other split, in every epoch and instance."""
    data, other = case.ready(), case.ready()
    seen: dict[int, Split] = {}
    for split in splits_of(data):
        index = order(data, split)
        if len(set(index)) < len(index):
            return f"{len(index)} samples of {split} have {len(set(index))} different ones. Number all samples."
        for again in (data, other):
            if sorted(order(again, split, seed=1)) != sorted(index):
                return f"it changes with the {'epoch' if again is data else 'instance'} in {split}."
        shared = [each for each in index if each in seen and not (split == "test" and _tests_on_validation(data))]
        if shared:
            return f"{shared[:5]} are in {seen[shared[0]]} and in {split}. Number all samples, not those of a split."
        seen |= dict.fromkeys(index, split)
    return None


def instances_are_equal(case: DataCase) -> str | None:
    """Two instances give equal batches: of one index always the same sample."""
    part = compare(case.ready(), case.ready())
    return f"{part} differ. Draw random numbers by a seed of your own." if part else None


def training_is_shuffled_by_the_seed(case: DataCase) -> str | None:
    """Every training epoch has every sample once, in an order that the global seed decides."""
    data = case.ready()
    orders = [order(data, "train", seed) for seed in SEEDS]
    expected = len(data.dataset("train"))  # type: ignore[arg-type]  # it has a length
    if any(len(each) != expected for each in orders):
        return f"of {expected} samples came {[len(each) for each in orders]}."
    if any(order(case.ready(), "train", seed) != each for seed, each in zip(SEEDS, orders, strict=True)):
        return "one seed gave two orders."
    return "all seeds gave one order: it is not shuffled." if all(each == orders[0] for each in orders) else None


def evaluation_is_whole_and_in_order(case: DataCase) -> str | None:
    """Validation and test give every sample once, in the same order whatever the seed."""
    data = case.ready()
    for split in splits_of(data)[1:]:
        first, expected = order(data, split), len(data.dataset(split))  # type: ignore[arg-type]
        if len(first) != expected:
            return f"of {expected} samples of {split} came {len(first)}. Leave `drop_last` out."
        if order(data, split, seed=1) != first:
            return f"another seed gave another order of {split}."
    return None


def no_group_is_torn_apart(case: DataCase) -> str | None:
    """Where samples have groups, no group is in two splits."""
    data = case.ready()
    if not isinstance(data, GroupedDataModule):
        return None
    groups = data.samples().groups
    train, *others = ({groups[row] for row in order(data, split)} for split in splits_of(data))
    pairs = [(train, other) for other in others]
    if len(others) == 2 and not _tests_on_validation(data):
        pairs.append((others[0], others[1]))
    torn = sorted(set().union(*(a & b for a, b in pairs)))
    return f"{torn[:5]} are. Leave the splitting to GroupedDataModule." if torn else None


def class_counts_are_those_of_training(case: DataCase) -> str | None:
    """`class_counts`, unless None, are the training samples of each class or label."""
    data = case.ready()
    counts, target = data.class_counts(), data.target
    if counts is None:
        return None
    if target is None or target.kind == "regression":
        return "there are some, but no classes."
    truth = torch.cat([batch["target"] for batch in batches(data, "train")]).long()
    expected = one_hot(truth, len(class_names(target))).sum(0) if is_class(target) else truth.sum(0)
    if counts.tolist() == expected.tolist():
        return None
    return f"they are {counts.tolist()}, and the batches have {expected.tolist()}."


def input_statistics_are_those_of_training(case: DataCase) -> str | None:
    """`input_statistics` are mean and deviation of each channel over the training samples that have the modality."""
    data = case.ready()
    specs = {name: spec for name, spec in as_specs(data.modalities).items() if spec.normalize}
    given = data.input_statistics()
    if given.keys() != specs.keys():
        return f"they are of {list(given)}, and {list(specs)} are to be normalised."
    epoch = batches(data, "train")
    for name in specs:
        present = [
            batch["inputs"][name][batch["presence"][name]]
            if name in batch.get("presence", {})
            else batch["inputs"][name]
            for batch in epoch
        ]
        values = torch.cat(present).double().transpose(0, 1).flatten(1)
        expected = {"mean": values.mean(1), "std": values.std(1, correction=0)}
        tolerance = 1e-5 * (values.abs().amax().item() or 1.0)
        for word, right in expected.items():
            ours: Tensor = getattr(given[name], word).double()
            if ours.shape != right.shape or not torch.allclose(ours, right, rtol=1e-4, atol=tolerance):
                return f"the {word} of {name!r} is {ours.tolist()}, and that of the samples {right.tolist()}."
    return None


def a_worker_loads_the_same(case: DataCase) -> str | None:
    """With `num_workers` 1 batches are those of `num_workers` 0."""
    alone, helped = case.ready(), case.ready()
    alone.num_workers, helped.num_workers = 0, 1
    part = compare(alone, helped)
    return f"{part} differ." if part else None


def it_can_be_pickled(case: DataCase) -> str | None:
    """It and its data sets can be pickled, since processes that are spawned get them so; the copy gives the same."""
    data = case.ready()
    part = compare(data, pickle.loads(pickle.dumps(data)))
    return f"{part} differ in the copy." if part else None


def a_second_setup_changes_nothing(case: DataCase) -> str | None:
    """`setup` runs before each of fit, validate, test and predict: after the first it changes nothing."""
    data = case.ready()
    before = {split: batches(data, split) for split in splits_of(data)}
    for stage in ("validate", "test", "predict"):
        data.setup(stage)
    for split, epoch in before.items():
        again = batches(data, split)
        parts = [differing(a, b) for a, b in zip(epoch, again, strict=True)] if len(epoch) == len(again) else ["index"]
        if part := next((part for part in parts if part is not None), None):
            return f"`{part}` of {split} differs."
    return None


def a_written_split_is_read(case: DataCase) -> str | None:
    """Where samples have groups, `write_split` writes a file with which `FileSplit` makes the same splits."""
    writer, reader = case.make(), case.make()
    if not isinstance(writer, GroupedDataModule) or not isinstance(reader, GroupedDataModule) or not writer.validates:
        return None
    with TemporaryDirectory() as folder:
        path = Path(folder) / "split.json"
        writer.write_split = path
        writer.setup("fit")
        if not path.is_file():
            return "`setup` wrote none. Leave it to GroupedDataModule."
        reader.write_split = None
        reader.split = FileSplit(path)
        reader.setup("fit")
    for split in SPLITS[:2] if _tests_on_validation(writer) else SPLITS:
        if order(writer, split) != order(reader, split):
            return f"other samples are in {split}. Keep `split` and `write_split` as the constructor got them."
    return None


def _tests_on_validation(data: FusionDataModule) -> bool:
    return bool(getattr(getattr(data, "split", None), "test_on_validation", False))


LAWS = [
    it_is_a_data_module,
    sizes_are_known_before_setup,
    every_batch_fits_the_specs,
    targets_fit_the_spec,
    index_names_one_sample,
    instances_are_equal,
    training_is_shuffled_by_the_seed,
    evaluation_is_whole_and_in_order,
    no_group_is_torn_apart,
    class_counts_are_those_of_training,
    input_statistics_are_those_of_training,
    a_worker_loads_the_same,
    it_can_be_pickled,
    a_second_setup_changes_nothing,
    a_written_split_is_read,
]
