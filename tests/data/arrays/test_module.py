import json
import re
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser

from fusionlit.data import FusionDataModule, Group
from fusionlit.data.arrays.module import ArrayDataModule
from fusionlit.data.augment import SignalAugmentation
from fusionlit.data.splits import FileSplit, FoldSplit, FractionSplit, OfficialSplit
from fusionlit.errors import ConfigError, DataError
from fusionlit.synthetic import render
from fusionlit.types import SPLITS, TargetSpec, shapes_of

CONFIG = Path(__file__).parents[3] / "configs" / "data" / "planted_signals.yaml"
N = 60
rng = np.random.default_rng(0)
TEXT, SIGNAL, MAP = rng.normal(size=(N, 8)), rng.normal(size=(N, 3, 20)), rng.integers(0, 256, (N, 4, 8, 9), np.uint8)
LABELS = np.arange(N) % 3
READY = {"text": TEXT.astype(np.float16), "signal": SIGNAL, "map": MAP, "target": LABELS}


@pytest.fixture
def save(tmp_path):
    """Writes an NPZ of `READY` with changes; None leaves an array out."""

    def write(changes=None, /, **more):
        arrays = {**READY, **(changes or {}), **more}
        np.savez(tmp_path / "data.npz", **{name: x for name, x in arrays.items() if x is not None})
        return tmp_path / "data.npz"

    return write


def ready(path, **options):
    data = ArrayDataModule(path, **options)
    data.setup("fit")
    return data


def loaders(data):
    return {"train": data.train_dataloader(), "val": data.val_dataloader(), "test": data.test_dataloader()}


def indices(data):
    return {split: sorted(data.dataset(split).rows.tolist()) for split in SPLITS}


# What it says about itself


def test_sizes_come_from_the_headers_and_the_target_and_nothing_else_is_read(save):
    path = save()
    content = bytearray(path.read_bytes())
    for x in (SIGNAL, MAP):  # ruin the values behind the headers, to the bytes
        start = bytes(content).index(x.tobytes())
        content[start : start + x.nbytes] = bytes(x.nbytes)
    path.write_bytes(content)
    data = ArrayDataModule(path)
    assert shapes_of(data.modalities) == {"text": (8,), "signal": (3, 20), "map": (4, 8, 9)}
    assert data.target == TargetSpec("multiclass", 3, ("0", "1", "2"))
    with pytest.raises(DataError, match=r"data\.npz, array 'signal': expected a readable array, .*Copy the file again"):
        data.setup("fit")


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_a_file_that_is_written_anew_before_setup_is_refused(tmp_path, write):
    """Else the inputs would be of the new file, and the targets of the old one."""
    signal, target = np.zeros((20, 3), np.float32), np.arange(20) % 2
    write(tmp_path / "data.npz", signal=signal, target=target)
    data = ArrayDataModule(tmp_path / "data.npz")
    write(tmp_path / "new.npz", signal=signal + 1, target=target)
    (tmp_path / "new.npz").replace(tmp_path / "data.npz")
    with pytest.raises(DataError, match=r"changed while in use\. Start again"):
        data.setup("fit")


@pytest.mark.parametrize(
    ("target", "kind", "expected", "values"),
    [
        (LABELS, None, TargetSpec("multiclass", 3, ("0", "1", "2")), LABELS),
        (LABELS % 2, None, TargetSpec("multiclass", 2, ("0", "1")), LABELS % 2),
        ((LABELS + 9).astype(np.uint8), None, TargetSpec("multiclass", 3, ("9", "10", "11")), LABELS),
        (np.array(["run", "sit", "lie"])[LABELS], None, TargetSpec("multiclass", 3, ("lie", "run", "sit")), [1, 2, 0]),
        (LABELS == 1, None, TargetSpec("binary", 1, ("0", "1")), LABELS == 1),
        (LABELS % 2, "binary", TargetSpec("binary", 1, ("0", "1")), LABELS % 2),
        (np.array(["no", "yes"])[LABELS % 2], "binary", TargetSpec("binary", 1, ("no", "yes")), LABELS % 2),
        (MAP[:, :, 0, 0] > 99, None, TargetSpec("multilabel", 4), MAP[:, :, 0, 0] > 99),
        (MAP[:, :, 0, 0] % 2, None, TargetSpec("multilabel", 4), MAP[:, :, 0, 0] % 2),
        (TEXT[:, 0], None, TargetSpec("regression", 1), TEXT[:, :1]),
        (TEXT, None, TargetSpec("regression", 8), TEXT),
        (LABELS, "regression", TargetSpec("regression", 1), LABELS[:, None]),
    ],
)
def test_the_targets_kind_follows_its_array_unless_given(save, target, kind, expected, values):
    data = ready(save(target=target), kind=kind)
    assert data.target == expected
    values = np.resize(values, N) if len(values) == 3 else np.asarray(values)
    dtype = torch.float32 if expected.kind == "regression" else torch.int64
    for split in SPLITS:
        rows = data.dataset(split).rows
        batch = data.dataset(split).__getitems__(list(range(len(rows))))
        torch.testing.assert_close(batch["target"], torch.from_numpy(values)[rows].to(dtype))


def test_what_the_target_is_taken_for_is_said_unless_the_kind_is_given(save, caplog):
    with caplog.at_level("INFO"):
        ArrayDataModule(save(), kind="multiclass")
        assert "target" not in caplog.text
        ArrayDataModule(save())
    assert "array 'target': (60,) int64 is interpreted as a multiclass target of size 3. Set `kind`" in caplog.text


def test_class_counts_are_those_of_the_training_split(save):
    several = (MAP[:, :, 0, 0] > 99).astype(int)
    for target, kind, count in (
        (LABELS, None, lambda rows: np.bincount(LABELS[rows], minlength=3)),
        (LABELS == 1, None, lambda rows: np.bincount(LABELS[rows] == 1, minlength=2)),
        (several, None, lambda rows: several[rows].sum(0)),
    ):
        data = ready(save(target=target), kind=kind)
        assert data.class_counts().tolist() == count(data.dataset("train").rows.numpy()).tolist()
    assert ready(save(target=TEXT)).class_counts() is None


# What it delivers


@pytest.mark.parametrize("num_workers", [0, 1])
def test_every_sample_comes_once_as_it_stands_in_the_file(save, num_workers):
    data = ready(save(), batch_size=7, num_workers=num_workers)
    seen = []
    for loader in loaders(data).values():
        for raw in loader:
            index = raw["index"]
            assert {name: x.dtype for name, x in raw["inputs"].items()} == {
                "text": torch.float16,
                "signal": torch.float64,
                "map": torch.uint8,
            }
            batch = data.convert(raw)
            for name in ("text", "signal", "map"):
                torch.testing.assert_close(batch["inputs"][name], torch.from_numpy(READY[name])[index].float())
            assert torch.equal(batch["target"], torch.from_numpy(LABELS)[index])
            assert "presence" not in batch
            seen += index.tolist()
    assert sorted(seen) == list(range(N))


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "?", ">f4", ">i2"])
def test_every_type_of_number_travels_and_becomes_float32(save, dtype):
    values = rng.integers(0, 100, (N, 5)).astype(dtype)
    data = ready(save(text=values), modalities=["text"])
    batch = next(iter(data.val_dataloader()))
    assert batch["inputs"]["text"].element_size() == values.dtype.itemsize
    converted = data.convert(batch)["inputs"]["text"]
    assert converted.dtype == torch.float32
    np.testing.assert_array_equal(converted, values[batch["index"]].astype(np.float32))


def test_a_single_sample_is_a_batch_without_its_first_dimension(save):
    dataset = ready(save(presence_text=np.arange(N) % 2 == 0)).dataset("train")
    sample, batch = dataset[4], dataset.__getitems__([4])
    assert sample.keys() == batch.keys()
    for part in ("inputs", "presence"):
        for name, x in sample[part].items():
            assert torch.equal(x, batch[part][name][0])
    assert sample["index"] == batch["index"][0]
    assert sample["target"] == batch["target"][0]


def test_presence_travels_for_all_modalities_and_what_is_absent_may_be_nan(save):
    there = np.arange(N) % 4 != 0
    signal = np.where(there[:, None, None], SIGNAL, np.nan)
    data = ready(save(signal=signal, presence_signal=there), batch_size=N)
    assert list(data.modalities) == ["text", "signal", "map"]
    batch = next(iter(data.train_dataloader()))
    assert torch.equal(batch["presence"]["signal"], torch.from_numpy(there)[batch["index"]])
    assert batch["presence"]["text"].all()
    assert batch["presence"]["map"].all()
    rows = data.dataset("train").rows.numpy()
    expected = SIGNAL[rows[there[rows]]].mean((0, 2))
    np.testing.assert_allclose(data.input_statistics()["signal"].mean, expected, rtol=1e-5, atol=1e-6)


def test_only_the_modalities_asked_for_are_read(save):
    path = save(words=np.full(N, "a"), text=np.full((N, 8), np.nan))
    data = ready(path, modalities=["map", "signal"])
    assert list(data.modalities) == ["map", "signal"]
    assert list(next(iter(data.val_dataloader()))["inputs"]) == ["map", "signal"]


def test_signals_are_augmented_in_training_only_and_what_is_no_signal_is_refused(save, make_trainer):
    with pytest.raises(
        ConfigError, match=r"signals \(channels, time\) for SignalAugmentation, but got {'text': \('vector', \(8,\)\)}"
    ):
        ArrayDataModule(save(), augmentation=SignalAugmentation(jitter=0.1, modalities=["text"]))
    data = ready(save(), augmentation=SignalAugmentation(jitter=0.1, modalities=["signal"]))
    trainer = make_trainer()
    data.trainer = trainer
    for training in (True, False):
        trainer.training = training
        raw = next(iter(data.val_dataloader()))
        batch = data.on_after_batch_transfer(raw, 0)
        assert torch.equal(batch["inputs"]["signal"], raw["inputs"]["signal"].float()) is not training
        assert torch.equal(batch["inputs"]["text"], raw["inputs"]["text"].float())


# Splits


def test_groups_are_never_torn_apart(save):
    for groups in (np.arange(N) // 6, np.array([f"subject {k // 6}" for k in range(N)])):
        for split in (FractionSplit(0.6, 0.2, 0.2), FoldSplit(5, 2)):
            found = indices(ready(save(groups=groups), split=split))
            assert sorted(chain(*found.values())) == list(range(N))
            subjects = [{row // 6 for row in rows} for rows in found.values()]
            assert [len(chosen) for chosen in subjects] == [6, 2, 2]
            assert not subjects[0] & subjects[1] | subjects[0] & subjects[2] | subjects[1] & subjects[2]


def test_rare_classes_are_in_every_split_whatever_the_seed(save):
    labels = np.repeat(["often", "seldom", "rare"], [51, 5, 4])
    for seed in range(20):
        for split in (FractionSplit(seed=seed), FoldSplit(4, 1, seed)):
            for rows in indices(ready(save(target=labels), split=split)).values():
                assert set(labels[rows]) == {"often", "seldom", "rare"}


def test_only_a_target_that_is_one_class_gives_strata(save, seen_groups):
    subject = np.arange(N) // 6
    for target, kind, strata in (
        (LABELS, "multiclass", LABELS.tolist()),
        (LABELS > 0, "binary", (LABELS > 0).tolist()),
        (LABELS, "regression", [None] * N),
        (MAP[:, :2, 0, 0] % 2, "multilabel", [None] * N),
    ):
        split = seen_groups()
        ready(save(target=target), kind=kind, split=split)
        assert [group.stratum for group in split.groups.values()] == strata
    ready(save(groups=subject), split=(split := seen_groups()))
    assert dict.fromkeys(map(str, range(10)), Group()) == split.groups


def test_groups_of_another_name_are_named(save):
    data = ready(save(subject=np.arange(N) // 6), groups="subject")
    assert "subject" not in data.modalities
    assert all(len(rows) % 6 == 0 for rows in indices(data).values())


def test_the_files_own_split_is_taken_unless_another_is_given(save):
    own = np.repeat(["train", "val", "test"], [30, 18, 12])
    expected = {split: np.flatnonzero(own == split).tolist() for split in SPLITS}
    assert indices(ready(save(split=own))) == expected
    assert indices(ready(save(split=own), split=FractionSplit())) != expected
    cut = indices(ready(save(split=np.where(own == "val", "train", own)), split=OfficialSplit(0.25)))
    assert cut["test"] == expected["test"]
    assert len(cut["val"]) == 12


def test_a_split_is_written_and_read_back(save, tmp_path):
    path = save(groups=np.arange(N) // 6)
    first = ready(path, split=FractionSplit(0.5, 0.3, 0.2, seed=4), write_split=tmp_path / "split.json")
    assert set(json.loads((tmp_path / "split.json").read_text())["train"]) < {str(k) for k in range(10)}
    assert indices(ready(path, split=FileSplit(tmp_path / "split.json"))) == indices(first)


def test_an_empty_split_says_how_to_fill_it(save):
    data = ready(save(), split=FractionSplit(0.8, 0.2, 0))
    with pytest.raises(
        ConfigError, match=r"(?s)The test split has no samples.*FractionSplit needs `test` above 0.*data\.npz: "
    ):
        data.test_dataloader()


# Bad input


def ragged():
    return np.array([np.zeros(k) for k in range(1, N + 1)], dtype=object)


def with_value(x, value):
    x = np.array(x, float)
    x[7].flat[0] = value
    return x


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text": TEXT[:50]}, r"'text': expected 60 samples, like the target, but got \(50, 8\) float64"),
        ({"text": TEXT.astype(str)}, r"'text': expected numbers, but got \(60, 8\) <U.*listing the others in `modal"),
        ({"text": TEXT * 1j}, r"'text': expected numbers, but got \(60, 8\) complex128"),
        (
            {"text": ragged()},
            r"'text': expected numbers or text, but got Python objects \(60,\), which are never unpick",
        ),
        ({"text": TEXT[:, 0]}, r"'text': expected \(samples, ...\).*but got \(60,\) float64.*save `x\[:, None\]`"),
        ({"text": np.float64(3)}, r"'text': expected \(samples, ...\).*but got \(\) float64"),
        (
            {"text": TEXT[:, :0]},
            r"'text': expected \(samples, ...\) with at least one value per sample, but got \(60, 0\)",
        ),
        (
            {"text": with_value(TEXT, np.nan)},
            r"'text': expected finite .* 1 of 60 .*, the first is sample 7.*'presence_text'",
        ),
        (
            {"text": with_value(TEXT, np.inf)},
            r"'text': expected finite numbers, but 1 of 60 samples contain NaN or inf",
        ),
        ({"presence_text": np.ones(N)}, r"'presence_text': expected \(60,\) bool.* but got \(60,\) float64"),
        ({"presence_txt": np.ones(N, bool)}, r"'presence_txt': .* there is no array 'txt'\. Rename it"),
        ({"groups": TEXT[:, 0]}, r"'groups': expected text or integers \(60,\).* but got \(60,\) float64"),
        ({"groups": LABELS[:10]}, r"'groups': expected text or integers \(60,\).* but got \(10,\) int64"),
        ({"split": np.full(N, "Train")}, r"'train', 'val' and 'test' as names of the official split, but got Train"),
        ({"target": LABELS - 1}, r"'target': expected labels \(n,\).* but got -1 \(20 samples are below 0: leave out"),
        ({"target": LABELS * 0}, r"'target': expected labels \(n,\) of two or more classes.* but got 1 \(0\)"),
        (
            {"target": LABELS.reshape(-1, 1)},
            r"'target': expected zeros and ones, or bool, \(n, labels\) .* but got 2 in \(60, 1\)",
        ),
        ({"target": SIGNAL}, r"'target': expected finite numbers \(n,\) or \(n, outputs\).* got \(60, 3, 20\) float64"),
        (
            {"target": with_value(TEXT, np.nan)},
            r"'target': expected finite numbers.*NaN or infinity in 1 .*first is sample 7",
        ),
        ({"target": np.where(LABELS > 1, "", "a")}, r"'target': 20 of 60 labels are missing"),
        ({"target": np.datetime64("2020-01-01") + LABELS}, r"'target': expected labels .* but got \(60,\) datetime64"),
        (
            {"text": None, "signal": None, "map": None},
            r"expected an array per modality and the target, but got \['targ",
        ),
    ],
)
def test_bad_arrays_are_refused_by_file_and_name(save, changes, message):
    with pytest.raises(DataError, match=rf"data\.npz.*{message}"):
        ready(save(changes))


@pytest.mark.parametrize(
    ("kind", "target", "message"),
    [
        ("binary", LABELS, r"expected labels \(n,\) of two classes, .* binary target, but got 3 \(0, 1, 2\)"),
        ("multiclass", TEXT, r"expected labels \(n,\) .* multiclass target, but got \(60, 8\) float64"),
        ("multiclass", TEXT[:, 0], r"expected labels as text or whole numbers, but got"),
        ("multilabel", LABELS, r"expected zeros and ones, or bool, .* but got \(60,\) int64"),
        ("regression", LABELS.astype(str), r"expected finite numbers .* regression target, but got \(60,\) <U"),
    ],
)
def test_a_kind_that_the_target_cannot_be_is_refused(save, kind, target, message):
    with pytest.raises(DataError, match=rf"array 'target': {message}"):
        ArrayDataModule(save(target=target), kind=kind)


def test_names_that_are_not_in_the_file_are_answered_with_those_that_are(save):
    path = save()
    has = r"It has: text \(60, 8\) float16, signal \(60, 3, 20\) float64, map"
    for options, argument, name in (
        ({"modalities": ["text", "lidar"]}, "modalities", "lidar"),
        ({"target": "y"}, "target", "y"),
        ({"groups": "subject"}, "groups", "subject"),
    ):
        with pytest.raises(ConfigError, match=rf"arrays named in `{argument}`, but it has no {name}\. {has}"):
            ArrayDataModule(path, **options)


def test_a_rare_label_may_be_missing_where_nothing_is_learned(save):
    labels = MAP[:, :2, 0, 0] % 2
    labels[:, 1] = 0
    own = np.repeat(["train", "val", "test"], 20)
    with pytest.raises(DataError, match=r"the train split \(20 samples\) has no samples of these classes: 1\. "):
        ready(save(target=labels, split=own))
    labels[3, 1] = 1
    assert ready(save(target=labels, split=own)).class_counts()[1] == 1


def test_a_class_of_one_sample_is_trained_on_and_its_lack_elsewhere_is_said(save):
    path = save(target=np.where(np.arange(N) < 1, 5, LABELS))
    with pytest.warns(UserWarning) as warned:  # noqa: PT030 (two texts, compared below)
        assert ready(path).class_counts()[3] == 1
    assert [
        re.findall(r"the (\w+) split .* has no samples of these classes: 5\. ", str(w.message)) for w in warned
    ] == [
        ["val"],
        ["test"],
    ]


def test_a_group_in_two_splits_of_the_file_is_refused(save):
    path = save(groups=np.arange(N) // 7, split=np.repeat(["train", "val", "test"], 20))
    with pytest.raises(DataError, match=r"puts these into several splits: 2, 5\."):
        ready(path)


def test_what_is_no_npz_is_named(save, tmp_path):
    with pytest.raises(DataError, match=r"gone\.npz: expected an NPZ file, but there is none"):
        ArrayDataModule(tmp_path / "gone.npz")
    (tmp_path / "text.npz").write_text("no")
    np.save(tmp_path / "one.npy", TEXT)
    whole = save().read_bytes()
    (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
    for name in ("text.npz", "one.npy", "half.npz"):
        with pytest.raises(DataError, match=rf"{name}: expected an NPZ file of plain arrays, but it cannot be read"):
            ArrayDataModule(tmp_path / name)


# In YAML


def test_the_shipped_config_makes_a_data_module_of_planted_signals(tmp_path):
    render(tmp_path, 40, task="signals")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(FusionDataModule, "data")
    options = [f"--data.path={tmp_path / 'signals.npz'}", "--data.augmentation=SignalAugmentation"]
    config = parser.parse_args([f"--data={CONFIG}", *options, "--data.augmentation.jitter=0.1"])
    data = parser.instantiate_classes(config).data
    assert isinstance(data, ArrayDataModule)
    data.setup("fit")
    assert shapes_of(data.modalities) == dict.fromkeys(("strong", "weak", "redundant", "noise"), (3, 128))
    assert data.augmentation.jitter == 0.1
    assert data.class_counts().tolist() == [24] * 4


def test_it_trains_a_strategy_from_the_command_line(fusionlit, save):
    path = save()
    model = ["--model=IntermediateFusion"]
    fusionlit("fit", "--data=ArrayDataModule", f"--data.path={path}", *model, "--trainer.fast_dev_run=2")


def test_a_checkpoint_takes_the_same_arrays_in_another_order(fusionlit, save, tmp_path):
    logger = ["--trainer.logger=CSVLogger", f"--trainer.logger.save_dir={tmp_path}", "--trainer.logger.name=log"]
    arrays = {"text": TEXT, "signal": SIGNAL, "target": LABELS}
    np.savez(tmp_path / "ab.npz", **arrays)
    np.savez(tmp_path / "ba.npz", **dict(reversed(arrays.items())))
    data = ["--data=ArrayDataModule", f"--data.path={tmp_path}/ab.npz"]
    short = ["--trainer.max_epochs=1", "--trainer.log_every_n_steps=1"]
    fusionlit("fit", *data, "--model=IntermediateFusion", *logger, *short)
    run = tmp_path / "log/version_0"
    said = []
    for file in ("ab", "ba"):
        changed = f"--data.path={tmp_path}/{file}.npz"
        fusionlit("predict", f"--config={run}/config.yaml", changed, f"--ckpt_path={run}/checkpoints/best.ckpt")
        said.append((tmp_path / f"log/version_{len(said) + 1}/predictions.csv").read_text())
    assert said[0] == said[1]


def test_what_an_array_is_can_be_said_and_tokens_travel_as_integers(save, tmp_path):
    words = np.arange(5 * N).reshape(N, 5) % 17
    path = save(words=words)
    data = ready(path, modalities=["words", "signal", "map"], kinds={"words": "tokens", "map": "points"})
    assert {name: spec.kind for name, spec in data.modalities.items()} == {
        "words": "tokens",
        "signal": "signal",
        "map": "points",
    }
    batch = data.convert(next(iter(data.val_dataloader())))
    assert batch["inputs"]["words"].dtype == torch.int64
    assert torch.equal(batch["inputs"]["words"], torch.from_numpy(words)[batch["index"]])
    assert set(data.input_statistics()) == {"signal", "map"}
    with pytest.raises(
        ConfigError, match=r"of kind 'points', to have 3 dimensions without the batch, but got \(3, 20\)"
    ):
        ArrayDataModule(path, kinds={"signal": "points"})
    with pytest.raises(ConfigError, match=r"`kinds` to name modalities, .* but got \['word'\]"):
        ArrayDataModule(path, kinds={"word": "tokens"})
    with pytest.raises(DataError, match=r"words.*expected integer tokens, but got .*float"):
        ArrayDataModule(save(words=words.astype(float)), kinds={"words": "tokens"})
