"""The contract of a data module."""

import pickle
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from fusionlit.contracts import check_inputs, check_presence, check_spec
from fusionlit.data import FusionDataModule
from fusionlit.data.targets import class_names, is_class
from fusionlit.tasks import default_task
from fusionlit.testing.datasets import DataCase, batches, compare, differing, order, repeats_validation, splits_of
from fusionlit.testing.laws import uphold
from fusionlit.testing.splits import a_written_split_is_read, no_group_is_torn_apart
from fusionlit.types import Split, as_specs

SEEDS = range(4)
"""Seeds of training orders that are compared."""


def check_data(make: Callable[[], FusionDataModule]) -> None:
    """Check the laws of a data module, on data so small that all of it may be read many times.

    Args:
        make: Gives a new data module at every call, before `setup`, always of the same data: a partial of the class.
            It needs at least three samples in training and one in each other split.

    Raises:
        BrokenLawError: If a law is broken; the message says which, what happened, and what to do.
    """
    uphold(DataCase(make), LAWS)


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
        shared = [each for each in index if each in seen and not (split == "test" and repeats_validation(data))]
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
