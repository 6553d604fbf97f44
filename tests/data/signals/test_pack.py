"""Windows through their pack: the values that the reader gives, from whatever format, whoever opens it."""

import importlib.util
import os
import sys
import tracemalloc

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from fusionlit.data import FractionSplit, SignalDataModule, collate
from fusionlit.data.packing import pack
from fusionlit.data.signals import (
    Channel,
    CSVReader,
    Header,
    NPZReader,
    Origin,
    SignalReader,
    TSReader,
    UCIHARReader,
    Windowing,
    Windows,
)
from fusionlit.errors import DataError
from fusionlit.storage.mapped import MappedArray
from fusionlit.types import SPLITS, shapes_of
from tests.processes import run

N, T = 24, 16
HALF = Windowing(0.5, "seconds")
READERS = (CSVReader, NPZReader, TSReader, UCIHARReader)


def write_npz(root):
    x = np.random.default_rng(0).normal(size=(N, 3, T))
    names = {"channels": ["acc_x", "acc_y", "ecg"], "groups": np.repeat(np.arange(6), 4), "rate": 8.0}
    np.savez_compressed(root / "set.npz", X=x, y=np.tile(["no", "yes"], N // 2), units=["g", "g", "mV"], **names)
    return root / "set.npz", {}


def write_ts(root):
    x = np.random.default_rng(0).normal(size=(2, N, 2, T)).astype(np.float32)
    for side, part in zip(("TRAIN", "TEST"), x, strict=True):
        rows = [":".join([*(",".join(map(str, row)) for row in window), "ab"[i % 2]]) for i, window in enumerate(part)]
        (root / f"A_{side}.ts").write_text("\n".join(["@classLabel true a b", "@data", *rows]))
    return root, {}


def write_csv(root, names="abcd", seed=0):
    for name in names:
        rng = np.random.default_rng(ord(name) + seed)
        rows = [
            f"{i / 100},{rng.normal()},{rng.normal() if i % 2 == 0 else ''},{'walk' if i < 225 else 'run'}"
            for i in range(400)
        ]
        (root / f"{name}.csv").write_text("\n".join(["time,acc [g],ecg [mV],label", *rows]))
    return root, {"windowing": HALF}


@pytest.fixture(params=["npz", "ts", "csv", "uci_har"])
def source(request, tmp_path, write_uci_har):
    """Root and arguments of a data set in each of our formats."""
    (tmp_path / "set").mkdir()
    if request.param == "uci_har":
        write_uci_har(tmp_path / "set", length=T)
        return tmp_path / "set", {}
    return {"npz": write_npz, "ts": write_ts, "csv": write_csv}[request.param](tmp_path / "set")


@pytest.fixture
def csv(tmp_path):
    (tmp_path / "csv").mkdir()
    return write_csv(tmp_path / "csv")[0]


@pytest.fixture
def no_reading(monkeypatch):
    """From its call on, nobody reads windows from files."""

    def refuse(self, root, modalities=None):
        raise AssertionError(f"{root} was read again")

    def begin():
        for reader in READERS:
            monkeypatch.setattr(reader, "read", refuse)

    return begin


@pytest.fixture
def reads(monkeypatch):
    """The roots of which windows were read from files."""
    seen = []
    for reader in READERS:

        def read(self, root, modalities=None, original=reader.read):
            seen.append(root)
            return original(self, root, modalities)

        monkeypatch.setattr(reader, "read", read)
    return seen


def ready(root, **options):
    options = {"split": FractionSplit(0.5, 0.5, 0), **options}
    data = SignalDataModule(root, **options)
    data.setup("fit")
    return data


def everything(data):
    """All windows of each modality, and their targets, as batches would have them."""
    train = data.dataset("train")
    return {name: x[np.arange(len(train.targets))] for name, x in train.inputs.items()}, train.targets


def check(data, windows):
    inputs, target = everything(data)
    np.testing.assert_array_equal(target, windows.target)
    for modality, names in data._files.modalities.items():
        for i, name in enumerate(names):
            np.testing.assert_array_equal(inputs[modality][:, i], windows.channels[name].values)
        assert inputs[modality].dtype == np.float32


def packs(root):
    folder = root.parent if root.is_file() else root
    return sorted(path.name for path in (folder / ".fusionlit").glob("*/"))


def test_windows_are_those_of_the_reader_and_later_starts_read_nothing(source, no_reading):
    root, options = source
    kind = {".npz": NPZReader(), "": CSVReader(HALF) if options else TSReader()}[root.suffix]
    windows = (UCIHARReader() if (root / "train").is_dir() else kind).read(root)
    first = ready(root, **options)
    check(first, windows)
    no_reading()
    second = ready(root, **options)
    check(second, windows)
    assert second.description == first.description
    assert second.target == first.target
    assert second.target.names == windows.classes
    assert all(isinstance(x, MappedArray) for x in second.dataset("train").inputs.values())
    assert len(packs(root)) == 1


def test_under_a_trainer_one_process_reads_and_another_only_opens(tmp_path, write_uci_har, make_trainer):
    write_uci_har(tmp_path / "uci", length=T)
    data = SignalDataModule(tmp_path / "uci")
    data.trainer = make_trainer()
    data.prepare_data()
    data.setup("fit")
    told = run(open_and_sum, tmp_path / "uci")
    sums = [data.dataset(split).__getitems__([0, 1, 2])["inputs"]["body_gyro"].double().sum() for split in SPLITS]
    assert [float(number) for number in told.splitlines()[-1].split()] == [float(total) for total in sums]


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_gather_the_same_however_they_start(csv, context):
    rows = [line.split(",") for line in (csv / "a.csv").read_text().splitlines()]
    for row in rows[40:60]:
        row[1] = ""
    (csv / "a.csv").write_text("\n".join(map(",".join, rows)))
    dataset = ready(csv, windowing=HALF, on_missing="mask").dataset("train")
    options = {"num_workers": 1, "multiprocessing_context": context, "collate_fn": collate}
    (batch,) = DataLoader(dataset, len(dataset), **options)
    expected = dataset.__getitems__(list(range(len(dataset))))
    assert "presence" in expected
    torch.testing.assert_close(batch, expected, rtol=0, atol=0)


def touch(root):
    os.utime(root / "b.csv")


def rewrite(root):
    write_csv(root, "b", seed=9)


def add(root):
    write_csv(root, "e")


def remove(root):
    (root / "b.csv").unlink()


@pytest.mark.parametrize("change", [touch, rewrite, add, remove])
def test_when_files_change_they_are_read_again(csv, reads, change):
    ready(csv, windowing=HALF)
    before = packs(csv)
    change(csv)
    data = ready(csv, windowing=HALF)
    assert reads == [csv, csv]
    check(data, CSVReader(HALF).read(csv))
    assert len(packs(csv)) == 1
    assert packs(csv) != before


def test_a_file_that_comes_while_the_others_are_read_is_noticed(csv, monkeypatch):
    read = CSVReader.read

    def adding(self, root, modalities=None):
        windows = read(self, root, modalities)
        add(csv)
        return windows

    monkeypatch.setattr(CSVReader, "read", adding)
    with pytest.raises(DataError, match="files changed while they were packed"):
        SignalDataModule(csv, windowing=HALF)
    assert packs(csv) == []


def test_a_file_that_was_not_there_before_counts(tmp_path, write_uci_har, reads):
    write_uci_har(tmp_path, length=T)
    SignalDataModule(tmp_path).setup("fit")
    names = ["WALK", "UP", "DOWN", "SIT", "STAND", "LIE"]
    (tmp_path / "activity_labels.txt").write_text("\n".join(f"{i} {name}" for i, name in enumerate(names, 1)))
    data = SignalDataModule(tmp_path)
    data.setup("fit")
    assert len(reads) == 2
    assert data.target.names == tuple(names)
    assert "0 WALK, 1 UP" in data.description


def test_other_windows_and_other_channels_are_other_packs_beside_each_other(csv, reads):
    recipes = [
        {"windowing": HALF},
        {"windowing": Windowing(0.5, "seconds", hop=0.25)},
        {"windowing": HALF, "modalities": {"both": ["ecg"]}},
        {"windowing": HALF, "modalities": {"heart": ["ecg"]}},
        {"windowing": HALF, "modalities": {"heart": ["ecg"], "motion": ["acc"]}},
        {"windowing": Windowing(0.5, "seconds", rates={"motion": 40}), "modalities": {"motion": ["acc"]}},
    ]
    for _ in range(2):
        for recipe in recipes:
            data = ready(csv, **recipe)
            check(data, CSVReader(recipe["windowing"]).read(csv, recipe.get("modalities")))
            reads.pop()  # that was the line above
    assert len(reads) == len(packs(csv)) == len(recipes)
    touch(csv)
    ready(csv, windowing=HALF)
    assert len(packs(csv)) == 1


def test_what_is_done_to_the_windows_is_not_packed(tmp_path, reads):
    root, _ = write_npz(tmp_path)
    values = dict(np.load(root))
    values["X"][3, 1, 4:6] = values["X"][5, 2, 4] = np.nan
    np.savez(root, **values)
    for on_missing, max_gap in (("interpolate", 2), ("mask", 1), ("mask", 0)):
        data = ready(root, on_missing=on_missing, max_gap=max_gap)
        acc = everything(data)[0]["acc"]
        ends = values["X"][3, 1, [3, 6]].astype(np.float32)
        expected = np.linspace(*ends, 4) if on_missing == "interpolate" else np.zeros(4)
        np.testing.assert_allclose(acc[3, 1, 3:7], expected, rtol=1e-5)
        presence = data.dataset("train").presence
        assert {name: np.flatnonzero(~there).tolist() for name, there in presence.items()} == {
            ("interpolate", 2): {},
            ("mask", 1): {"acc": [3], "ecg": []},
            ("mask", 0): {"acc": [3], "ecg": [5]},
        }[on_missing, max_gap]
    for _ in range(2):
        with pytest.raises(DataError, match=r"channel 'acc_y': 2 values in 1 windows \(the first is window 3, with 2"):
            ready(root)
    ready(root, split=FractionSplit(0.4, 0.3, 0.3, seed=3), on_missing="mask")
    assert len(reads) == 1


def test_what_looks_wrong_is_told_at_every_start(tmp_path, no_reading):
    root, _ = write_npz(tmp_path)
    values = dict(np.load(root))
    values["X"][:, 1], values["X"][20] = values["X"][:, 0], values["X"][9]
    np.savez(root, **values)
    told = []
    for _ in range(2):
        with pytest.warns(UserWarning) as warned:  # noqa: PT030 (two texts, compared below)
            ready(root)
        told.append([str(warning.message) for warning in warned])
        no_reading()
    assert told[0] == told[1]
    assert [text[: len(str(root)) + 33] for text in told[0]] == [
        f"{root}: channels 'acc_x' and 'acc_y' ar",
        f"{root}: 1 of 12 windows of the val spli",
    ]


def test_a_damaged_pack_is_found_and_made_again(csv, reads, caplog):
    caplog.set_level("INFO")
    ready(csv, windowing=HALF)
    file = next((csv / ".fusionlit").glob("*/input_1.npy"))
    data = bytearray(file.read_bytes())
    data[-77] ^= 4
    file.write_bytes(data)
    check(ready(csv, windowing=HALF), CSVReader(HALF).read(csv))
    assert "packing it again, because" in caplog.text
    assert "input_1.npy is damaged in rows 0 to 27." in caplog.text
    assert len(reads) == 3


def test_data_sets_share_a_folder(tmp_path, reads):
    roots = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        root, _ = write_npz(tmp_path / name)
        values = dict(np.load(root))
        np.savez(root, **{**values, "X": values["X"] + len(name + name if name == "two" else name)})
        os.utime(root, ns=(0, 0))  # all that is seen of the two files is equal
        roots.append(root)
    windows = [NPZReader().read(root) for root in roots]
    reads.clear()
    for _ in range(2):
        for root, expected in zip(roots, windows, strict=True):
            check(ready(root, pack=tmp_path / "packs"), expected)
    assert reads == roots
    assert len(packs(tmp_path / "packs")) == 2
    assert not (tmp_path / "one/.fusionlit").exists()


def test_a_root_that_cannot_be_written_says_what_to_set(csv, tmp_path):
    (csv / ".fusionlit").write_text("")  # also root cannot make a folder of it
    with pytest.raises(
        DataError, match=r"expected a folder to write packed data to, .* Set `pack` to a writable folder"
    ):
        ready(csv, windowing=HALF)
    check(ready(csv, windowing=HALF, pack=tmp_path), CSVReader(HALF).read(csv))


def test_names_of_modalities_need_not_be_names_of_files(tmp_path):
    root, _ = write_npz(tmp_path)
    modalities = {"../a/b": ["acc_x"], "target": ["acc_y"], "files": ["ecg"]}
    check(ready(root, modalities=modalities), NPZReader().read(root))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".fusionlit", "set.npz"]


def test_a_promise_is_held_against_a_pack_that_another_process_made(tmp_path, no_reading):
    root, _ = write_npz(tmp_path)
    early = SignalDataModule(root, split=FractionSplit(0.5, 0.5, 0))
    values = dict(np.load(root))
    np.savez(root, **{**values, "X": values["X"][..., :8]})
    ready(root)
    no_reading()
    with pytest.raises(DataError, match=r"as in the header, but .* If the files have changed, start again"):
        early.setup("fit")


def test_the_command_packs_ahead(csv, capsys, no_reading):
    pack(SignalDataModule(csv, windowing=HALF))
    assert "complete and up to date, " in capsys.readouterr().out
    no_reading()
    ready(csv, windowing=HALF)


def test_memory_stays_flat(tmp_path):
    x = np.random.default_rng(0).normal(size=(1000, 4, 3000)).astype(np.float32)  # 48 MB
    x[7, 1, 2] = np.nan
    np.savez(tmp_path / "set.npz", X=x, y=np.arange(1000) % 2, groups=np.arange(1000) // 250)
    options = {"split": FractionSplit(0.5, 0.5, 0), "on_missing": "mask"}
    ready(tmp_path / "set.npz", **options)
    tracemalloc.start()
    data = ready(tmp_path / "set.npz", **options)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 2e6
    assert peak < 24e6
    assert data.dataset("train").presence["channel_1"].sum() == 999


class Sines(SignalReader):
    """A reader of one's own: as many windows as the number in its file says, times a factor."""

    asked = 0

    def __init__(self, factor=1.0):
        self.factor = factor

    def header(self, root, modalities=None):
        return Header({"sine": Channel(np.zeros((1, T), np.float32)).grid}, ("even", "odd"))

    def read(self, root, modalities=None):
        type(self).asked += 1
        n = int((root / "count.txt").read_text())
        values = np.float32(self.factor) * np.sin(np.outer(np.arange(1, n + 1), np.arange(T))).astype(np.float32)
        return Windows({"sine": Channel(values)}, np.arange(n) % 2, ("even", "odd"), np.arange(n).astype(str))


class PackedSines(Sines):
    """The same, telling its origin."""

    def read(self, root, modalities=None):
        return super().read(root, modalities)

    def origin(self, root):
        return Origin([root / "count.txt"], f"{self.factor=}")


class HalfSines(PackedSines):
    """Another `read`, of which `origin` knows nothing."""

    def read(self, root, modalities=None):
        windows = super().read(root, modalities)
        return Windows(
            {"sine": Channel(windows.channels["sine"].values / 2)}, windows.target, windows.classes, windows.group
        )


class TwiceSines(PackedSines):
    """Another `origin` alone, which is a matter of its own."""

    def origin(self, root):
        return Origin([root / "count.txt"], f"twice {self.factor=}")


@pytest.mark.parametrize(("kind", "asked"), [(Sines, 2), (PackedSines, 1), (HalfSines, 2), (TwiceSines, 1)])
def test_a_reader_of_ones_own_is_packed_if_it_tells_its_origin(tmp_path, kind, asked):
    (tmp_path / "count.txt").write_text("8")
    kind.asked = 0
    for _ in range(2):
        data = SignalDataModule(tmp_path, reader=kind(), split=FractionSplit(0.5, 0.5, 0))
        data.prepare_data()
        data.setup("fit")
        check(data, kind().read(tmp_path))
        kind.asked -= 1  # that was the line above
    assert kind.asked == asked
    assert len(packs(tmp_path)) == (asked == 1)
    assert (data.pack() is None) == (asked == 2)


def test_the_origin_is_all_that_counts(tmp_path):
    (tmp_path / "count.txt").write_text("8")
    for factor, count in ((1.0, 8), (2.0, 8), (2.0, 6), (1.0, 6)):
        if (tmp_path / "count.txt").read_text() != str(count):
            (tmp_path / "count.txt").write_text(str(count))
            os.utime(tmp_path / "count.txt", ns=(count, count))
        reader = PackedSines(factor)
        check(ready(tmp_path, reader=reader), reader.read(tmp_path))
    assert len(packs(tmp_path)) == 2


CODE = """
import numpy as np
from fusionlit.data.signals import Channel, Origin, SignalReader, Windows

class Ramps(SignalReader):
    def header(self, root, modalities=None):
        pass

    def read(self, root, modalities=None):
        values = np.arange(8 * 16, dtype=np.float32).reshape(8, 16) * FACTOR
        return Windows({"ramp": Channel(values)}, np.arange(8) % 2, ("a", "b"), np.arange(8).astype(str))

    def origin(self, root):
        return Origin([])
"""


def test_corrected_code_reads_again(tmp_path):
    for factor in (1, 3, 1):
        (tmp_path / "ramps.py").write_text(CODE.replace("FACTOR", str(factor)))
        spec = importlib.util.spec_from_file_location("ramps", tmp_path / "ramps.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules["ramps"] = module
        spec.loader.exec_module(module)
        data = ready(tmp_path, reader=module.Ramps())
        assert shapes_of(data.modalities) == {"ramp": (1, 16)}
        assert everything(data)[0]["ramp"].max() == 127 * factor
    del sys.modules["ramps"]


def open_and_sum(root):
    def refuse(self, root, modalities=None):
        raise AssertionError

    UCIHARReader.read = refuse
    data = SignalDataModule(root)
    data.setup("fit")
    print()
    print(
        *(data.dataset(split).__getitems__([0, 1, 2])["inputs"]["body_gyro"].double().sum().item() for split in SPLITS)
    )
