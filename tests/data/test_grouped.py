"""A data set of one's own, of a few lines, has every check and every split that ours have."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, SequentialSampler

from fusionlit.data import (
    ArrayDataModule,
    FileSplit,
    FoldSplit,
    FractionSplit,
    GroupedDataModule,
    GroupSplit,
    InnerFolds,
    LastFramesSplit,
    OfficialSplit,
    RefitSplit,
    Samples,
    collate,
    make_targets,
)
from fusionlit.errors import ConfigError, DataError
from fusionlit.models import IntermediateFusion
from fusionlit.types import SPLITS, TargetSpec

N, SUBJECTS = 48, 12
SUBJECT = [f"s{k // 4}" for k in range(N)]
LABELS = np.array(["run", "sit"])[np.arange(N) % 2]


class Own(GroupedDataModule):
    def samples(self):
        x = np.arange(N * 30, dtype=np.float32).reshape(N, 3, 10)
        return Samples({"acc": x, "gyro": x.astype(np.int16)[:, :2]}, make_targets(LABELS), SUBJECT)


def own(split=None, /, write_split=None, **changes):
    """A data module of these samples, some of them changed, after `setup`."""

    class Changed(Own):
        def samples(self):
            return replace(super().samples(), **changes)

    data = Changed(split, write_split)
    data.setup("fit")
    return data


def subjects(data):
    return {split: {SUBJECT[row] for row in data._datasets[split].rows} for split in SPLITS}


def test_sizes_and_classes_are_those_of_the_samples():
    data = Own()
    assert data.modalities == {"acc": (3, 10), "gyro": (2, 10)}
    assert data.target == TargetSpec("multiclass", 2, ("run", "sit"))


def test_sizes_are_as_convert_makes_them():
    class Spectra(Own):
        def convert(self, batch):
            return {**batch, "inputs": {name: torch.fft.rfft(x).abs() for name, x in batch["inputs"].items()}}

    assert Spectra().modalities == {"acc": (3, 6), "gyro": (2, 6)}


def test_a_conversion_that_gives_no_batch_is_refused():
    class Forgotten(Own):
        def convert(self, batch):
            batch["inputs"]["acc"] = batch["inputs"]["acc"].float()

    with pytest.raises(DataError, match="`convert` of Forgotten to return the batch, a dict, but got NoneType"):
        Forgotten().modalities  # noqa: B018 (a property that computes)


def test_samples_are_opened_once_and_anew_after_an_error():
    class Counted(Own):
        opened = 0

        def samples(self):
            self.opened += 1
            return super().samples()

    data = Counted(FractionSplit(0.5, 0.25, 0.25))
    assert list(data.modalities) == ["acc", "gyro"]
    assert data.target.size == 2
    for stage in ("fit", "test"):
        data.setup(stage)
    assert data.opened == 1
    data = Counted(FileSplit(Path("none.json")))
    for _ in range(2):
        with pytest.raises(DataError, match=r"none\.json"):
            data.setup("fit")
    assert data.opened == 2


def test_batches_hold_the_samples_by_their_number():
    data = own()
    x = np.arange(N * 30, dtype=np.float32).reshape(N, 3, 10)
    seen = []
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        for batch in loader:
            np.testing.assert_array_equal(batch["inputs"]["acc"], x[batch["index"]])
            assert batch["target"].tolist() == (batch["index"] % 2).tolist()
            seen += batch["index"].tolist()
    assert sorted(seen) == list(range(N))


# Splits


class Torn(GroupSplit):
    def assign(self, groups):
        names = list(groups)
        return {"train": names[:8], "val": names[7:10], "test": names[10:]}


def test_a_split_that_tears_a_group_is_refused():
    with pytest.raises(DataError, match=r"Torn: train and val overlap in 1 groups: s7\. Put each group"):
        own(Torn())


def test_a_group_that_is_not_there_is_refused_but_one_of_unusable_samples_may_be_named(tmp_path):
    lists = {"train": [f"s{k}" for k in range(9)], "val": ["s9", "s10"], "test": ["s11"]}
    (tmp_path / "split.json").write_text(json.dumps(lists))
    data = own(FileSplit(tmp_path / "split.json"), rows=np.arange(4, N))
    assert subjects(data)["train"] == {f"s{k}" for k in range(1, 9)}
    (tmp_path / "split.json").write_text(json.dumps({**lists, "test": ["s12"]}))
    with pytest.raises(DataError, match="the test split names groups that are not in the data set: s12"):
        own(FileSplit(tmp_path / "split.json"))


def test_a_written_split_is_read_back_and_not_overwritten(tmp_path):
    path = tmp_path / "split.json"
    first = own(FractionSplit(seed=3), path)
    assert subjects(own(FileSplit(path))) == subjects(first)
    with pytest.raises(DataError, match="contains another split"):
        own(FractionSplit(seed=4), path)


def test_a_split_that_is_refused_is_not_written(tmp_path):
    with pytest.raises(DataError, match="no samples of these classes"):
        own(Halves(), tmp_path / "split.json", targets=by_half())
    assert not (tmp_path / "split.json").exists()


def test_in_folds_every_group_tests_once():
    folds = [subjects(own(FoldSplit(4, k))) for k in range(4)]
    assert sorted(s for fold in folds for s in fold["test"]) == sorted(set(SUBJECT))
    assert all(len(set.union(*fold.values())) == sum(map(len, fold.values())) == SUBJECTS for fold in folds)


@pytest.mark.parametrize("split", [None, FractionSplit(0.5, 0.25, 0.25, seed=2)])
def test_refit_and_inner_folds_keep_the_test_groups(split):
    plain = subjects(own(split))
    refit = own(RefitSplit(split))
    assert not refit.validates
    assert subjects(refit) == {"train": plain["train"] | plain["val"], "val": set(), "test": plain["test"]}
    for fold in range(3):
        inner = subjects(own(InnerFolds(split, 3, fold)))
        assert inner["test"] == plain["test"]
        assert inner["train"] | inner["val"] == plain["train"] | plain["val"]


def test_the_sources_own_split_is_the_default():
    official = np.repeat(["train", "val", "test"], [24, 12, 12]).tolist()
    assert len(subjects(own(official=official))["train"]) == 6
    with pytest.raises(ConfigError, match="Expected a source with an official split for OfficialSplit"):
        own(OfficialSplit())


def test_validation_frames_that_test_too_are_in_both_splits():
    with pytest.warns(UserWarning, match="Testing on the validation frames"):
        data = own(LastFramesSplit(3, test_on_validation=True))
    assert subjects(data)["val"] == subjects(data)["test"] == {"s9", "s10", "s11"}


def test_an_empty_split_is_refused_when_it_is_asked_for():
    data = own(FractionSplit(0.5, 0.5, 0))
    with pytest.raises(ConfigError, match=r"(?s)The test split has no samples\. .*the data: .*test 0 samples of 0 gro"):
        data.test_dataloader()
    empty = own(FractionSplit(0, 0.5, 0.5))
    with pytest.raises(ConfigError, match=r"The train split has no samples\. "):
        empty.class_counts()


def test_what_each_split_has_is_said(caplog):
    with caplog.at_level("INFO"):
        data = own(FractionSplit(0.5, 0.25, 0.25), source="walks")
    assert data.description in caplog.text
    assert data.description == "walks: train 24 samples of 6, val 12 samples of 3, test 12 samples of 3 groups"


# Classes


class Halves(GroupSplit):
    """The first six subjects train, the others validate; none test."""

    def assign(self, groups):
        names = list(groups)
        return {"train": names[:6], "val": names[6:], "test": []}


def by_half():
    """Classes of which training lacks the last."""
    return make_targets(np.where(np.arange(N) < N // 2, LABELS, "walk"))


def test_a_class_that_training_lacks_is_refused():
    with pytest.raises(
        DataError, match=r"walks: the train split \(24 samples\) has no samples of these classes: walk\. .*Choose"
    ):
        own(Halves(), targets=by_half(), source="walks")


def test_a_class_that_validation_lacks_is_warned_of_once():
    labels = np.where(np.arange(N) % 4 == 0, "walk", LABELS)
    labels[N // 2 :] = LABELS[N // 2 :]
    with pytest.warns(
        UserWarning, match=r"the val split \(24 samples\) has no samples of these classes: walk\. Its"
    ) as warned:
        data = own(Halves(), targets=make_targets(labels))
    data.setup("validate")  # where warnings are errors
    assert len(warned) == 1


def test_a_label_that_training_lacks_is_refused_and_elsewhere_it_may_be_missing():
    first, last = np.arange(N) < 4, np.arange(N) >= N - 4
    for labels, fine in ((first, True), (last, False)):
        targets = make_targets(np.stack([np.arange(N) % 2 == 0, labels], 1))
        if fine:
            assert own(Halves(), targets=targets).class_counts().tolist() == [12, 4]
        else:
            with pytest.raises(
                DataError, match=r"the train split \(24 samples\) has no samples of these classes: 1\. "
            ):
                own(Halves(), targets=targets)


def test_class_counts_are_those_of_training_and_numbers_have_none():
    assert own(Halves()).class_counts().tolist() == [12, 12]
    assert own(Halves(), targets=make_targets(LABELS == "run")).class_counts().tolist() == [12, 12]
    assert own(Halves(), targets=make_targets(np.arange(N) / N)).class_counts() is None


class InOrder(ArrayDataModule):
    """Someone's loader that forgot to shuffle."""

    def train_dataloader(self):
        dataset = self.dataset("train")
        return DataLoader(dataset, batch_size=32, sampler=SequentialSampler(dataset), collate_fn=collate)


@pytest.mark.parametrize("kind", ["multiclass", "binary"])
def test_training_batches_of_one_class_are_refused(tmp_path, make_trainer, kind):
    label = np.repeat([0, 1], 60)
    np.savez(tmp_path / "sorted.npz", x=np.random.default_rng(0).normal(size=(120, 2, 8)), target=label)
    data = InOrder(tmp_path / "sorted.npz", kind=kind, batch_size=32)
    model = IntermediateFusion(data.modalities, data.target)
    with pytest.raises(DataError, match=r"1 in a row \(32 samples each\) contain only one class \(the last: '0'\)"):
        make_trainer().fit(model, data)


@pytest.mark.filterwarnings("ignore:You requested to overfit but enabled train dataloader shuffling")
def test_overfitting_is_on_batches_as_they_lie(tmp_path, make_trainer):
    label = np.repeat([0, 1], 60)
    np.savez(tmp_path / "sorted.npz", x=np.random.default_rng(0).normal(size=(120, 2, 8)), target=label)
    data = ArrayDataModule(tmp_path / "sorted.npz", batch_size=32)
    trainer = make_trainer(overfit_batches=1)
    trainer.fit(IntermediateFusion(data.modalities, data.target), data)
    assert trainer.global_step == 1


# On the command line

FILE = """
import numpy as np
from pathlib import Path
from fusionlit.data import GroupedDataModule, GroupSplit, Samples, make_targets

class Walks(GroupedDataModule):
    def __init__(self, size: int, split: GroupSplit | None = None, write_split: Path | None = None) -> None:
        super().__init__(split, write_split, batch_size=8)
        self.size = size

    def samples(self) -> Samples:
        label = np.arange(self.size) % 2
        x = np.random.default_rng(0).normal(size=(self.size, 2, 8)).astype(np.float32) + label[:, None, None]
        return Samples({"a": x, "b": -x}, make_targets(label), [f"s{k // 4}" for k in range(self.size)])
"""


@pytest.fixture
def walks(tmp_path, monkeypatch):
    """Arguments of a run on a data module in the working folder."""
    monkeypatch.chdir(tmp_path)
    Path("walks.py").write_text(FILE)
    short = ["--trainer.max_epochs=1", "--trainer.log_every_n_steps=1", "--trainer.logger=false"]
    return ["--data=walks.Walks", "--data.size=48", "--model=IntermediateFusion", *short]


def test_it_is_trained_anew_on_training_and_validation(fusionlit, walks, tmp_path):
    fusionlit("fit", *walks, "--data.split=FoldSplit", "--data.split.folds=4", "--refit=true")
    assert (tmp_path / "refit/checkpoints/last.ckpt").is_file()
    assert "RefitSplit" in (tmp_path / "refit/config.yaml").read_text()


def test_it_is_trained_in_folds(fusionlit, walks, tmp_path):
    fusionlit("fit", *walks, "--folds=2")
    rows = [json.loads(path.read_text()) for path in sorted(tmp_path.rglob("fold.json"))]
    assert len(rows) == 2


def test_a_data_set_without_a_usable_sample_is_refused():
    with pytest.raises(DataError, match="expected at least one usable sample, but its `rows` are empty"):
        own(rows=[])
