"""The readers' contract: each law finds a reader that breaks it, and none of ours does.

A format of ours adds a reader and what writes a small data set to `OURS`, and has all of these tests.
"""

import inspect
from dataclasses import replace

import numpy as np
import pytest

import fusionlit.data.signals
from fusionlit.data import FractionSplit, SignalDataModule
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
from fusionlit.testing import BrokenLawError, check_data, check_reader, readers

N, T = 24, 16


def write_npz(root, _):
    x = np.random.default_rng(0).normal(size=(N, 3, T)).astype(np.float32)
    names = {"channels": ["acc_x", "acc_y", "ecg"], "groups": np.repeat(np.arange(8), 3), "units": ["g", "g", "mV"]}
    np.savez(root / "set.npz", X=x, y=np.tile(["no", "yes", "no", "yes"], N // 4), rate=8.0, **names)
    return root / "set.npz"


def write_split_npz(root, _):
    x = np.random.default_rng(0).normal(size=(3, N, 2, T)).astype(np.float32)
    parts = {f"X_{split}": part for split, part in zip(("train", "val", "test"), x, strict=True)}
    np.savez(root / "set.npz", **parts, **{name.replace("X", "y"): np.arange(N) % 2 for name in parts})
    return root / "set.npz"


def write_ts(root, _):
    x = np.random.default_rng(0).normal(size=(2, N, 2, T)).astype(np.float32)
    for side, part in zip(("TRAIN", "TEST"), x, strict=True):
        rows = [":".join([*(",".join(map(str, row)) for row in window), "ab"[i % 2]]) for i, window in enumerate(part)]
        (root / f"A_{side}.ts").write_text("\n".join(["@classLabel true a b", "@data", *rows]))
    return root


def write_csv(root, _):
    for seed, name in enumerate("abcdef"):
        rng = np.random.default_rng(seed)
        rows = [
            f"{i / 50},{rng.normal()},{rng.normal() if i % 2 == 0 else ''},{'walk' if i < 75 else 'run'}"
            for i in range(150)
        ]
        (root / f"{name}.csv").write_text("\n".join(["time,acc [g],ecg [mV],label", *rows]))
    return root


def write_uci_har(root, write):
    write(root, length=T)
    return root


OURS = {
    "npz": (NPZReader(), write_npz),
    "npz that comes split": (NPZReader(), write_split_npz),
    "ts": (TSReader(), write_ts),
    "csv": (CSVReader(Windowing(0.5, "seconds")), write_csv),
    "uci har": (UCIHARReader(), write_uci_har),
}


@pytest.fixture(params=OURS)
def ours(request, tmp_path, write_uci_har):
    """A reader, and a small data set of its format."""
    reader, write = OURS[request.param]
    (tmp_path / "set").mkdir()
    return reader, write(tmp_path / "set", write_uci_har)


def test_ours_keep_every_law(ours):
    check_reader(*ours)


def test_their_data_modules_keep_every_law(ours):
    reader, root = ours
    split = FractionSplit(0.5, 0.25, 0.25)
    check_data(lambda: SignalDataModule(root, reader=reader, split=split, batch_size=5))


def test_none_of_ours_is_left_out():
    offered = [getattr(fusionlit.data.signals, name) for name in fusionlit.data.signals.__all__]
    concrete = {o for o in offered if inspect.isclass(o) and issubclass(o, SignalReader) and not inspect.isabstract(o)}
    assert concrete == {type(reader) for reader, _ in OURS.values()}


class Lines(SignalReader):
    """What the broken ones are made from: a line of `set.txt` is a window, its class last. It breaks no law."""

    def header(self, root, modalities=None):
        return self.read(root).header

    def read(self, root, modalities=None):
        path = root / "set.txt"
        if not path.is_file():
            raise DataError(f"{path} is not there.")
        rows = np.array([[float(cell) for cell in line.split()] for line in path.read_text().splitlines()])
        x, group = rows[:, :-1].astype(np.float32), np.array([f"g{i}" for i in range(len(rows))])
        return Windows({"a": Channel(x), "b": Channel(2 * x)}, rows[:, -1].astype(np.int64), ("no", "yes"), group)

    def origin(self, root):
        return Origin([root / "set.txt"])


@pytest.fixture
def lines(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set/set.txt").write_text("\n".join(f"{i} {i + 1} {i * i} {i % 2}" for i in range(8)))
    (tmp_path / "set/offset.txt").write_text("3")
    return tmp_path / "set"


def test_the_one_of_lines_itself_keeps_every_law(lines):
    check_reader(Lines(), lines)


class NoReader:
    def read(self, root):
        return Lines().read(root)


class Changed(Lines):
    """One that changes what has been read."""

    def read(self, root, modalities=None):
        return self.change(super().read(root))


class OtherType(Changed):
    def change(self, windows):
        return windows.channels


class Doubles(Changed):
    def change(self, windows):
        return replace(windows, channels={"a": Channel(windows.channels["a"].values.astype(np.float64))})


class Infinite(Changed):
    def change(self, windows):
        windows.channels["a"].values[0] = np.inf
        return windows


class Shorter(Changed):
    def change(self, windows):
        return replace(windows, channels={"a": Channel(windows.channels["a"].values[1:])})


class FromOne(Changed):
    def change(self, windows):
        return replace(windows, target=windows.target + 1)


class SameNames(Changed):
    def change(self, windows):
        return replace(windows, classes=("no", "no"))


class WithoutGroups(Changed):
    def change(self, windows):
        return replace(windows, group=np.array([""] * len(windows)))


class OwnSplitNames(Changed):
    def change(self, windows):
        return replace(windows, official=np.array(["training"] * len(windows)))


class OtherHeader(Lines):
    def header(self, root, modalities=None):
        return Header(dict(reversed(super().header(root).channels.items())), ("no", "yes"))


class Shuffles(Changed):
    rng = np.random.default_rng(0)

    def change(self, windows):
        return replace(windows, group=self.rng.permutation(windows.group))


class Forgetful(Lines):
    """One that loses a channel that was asked for."""

    def read(self, root, modalities=None):
        windows = super().read(root)
        return windows if modalities is None else replace(windows, channels={"a": windows.channels["a"]})


class MakesUp(Lines):
    """One that has every channel that it is asked for."""

    def header(self, root, modalities=None):
        return self.read(root, modalities).header

    def read(self, root, modalities=None):
        windows = super().read(root)
        named = [name for names in (modalities or {}).values() for name in names]
        return replace(windows, channels={**dict.fromkeys(named, windows.channels["a"]), **windows.channels})


class RaisesOthers(Lines):
    def read(self, root, modalities=None):
        (root / "set.txt").read_text()
        return super().read(root)


class NamesNoPath(Lines):
    def read(self, root, modalities=None):
        if not (root / "set.txt").is_file():
            raise DataError("There is nothing.")
        return super().read(root)


class HiddenFile(Lines):
    def read(self, root, modalities=None):
        windows = super().read(root)
        offset = float((root / "offset.txt").read_text()) if (root / "offset.txt").is_file() else 0.0
        return replace(windows, channels={"a": Channel(windows.channels["a"].values + np.float32(offset))})

    def origin(self, root):
        return Origin([root / "set.txt"])


class NamesNoFile(Lines):
    def origin(self, root):
        return Origin([root / "data.txt"])


class OwnReadAlone(Changed):
    """What `origin` says is of another `read`."""

    def change(self, windows):
        return windows


BROKEN = [
    (NoReader, readers.it_is_a_reader),
    (OtherType, readers.it_is_a_reader),
    (Doubles, readers.windows_are_whole),
    (Infinite, readers.windows_are_whole),
    (Shorter, readers.windows_are_whole),
    (FromOne, readers.labels_name_classes),
    (SameNames, readers.labels_name_classes),
    (WithoutGroups, readers.every_window_has_a_group),
    (OwnSplitNames, readers.every_window_has_a_group),
    (OtherHeader, readers.header_is_what_is_read),
    (Shuffles, readers.reading_again_gives_the_same),
    (Forgetful, readers.chosen_channels_are_read),
    (MakesUp, readers.unknown_channels_are_refused),
    (RaisesOthers, readers.what_is_not_there_is_refused),
    (NamesNoPath, readers.what_is_not_there_is_refused),
    (HiddenFile, readers.origin_names_every_file_that_matters),
    (NamesNoFile, readers.origin_names_every_file_that_matters),
    (OwnReadAlone, readers.origin_follows_its_files),
]


@pytest.mark.parametrize(("reader", "law"), BROKEN)
def test_each_law_finds_a_reader_that_breaks_it(lines, reader, law):
    with pytest.raises(BrokenLawError) as error:
        check_reader(reader(), lines)
    assert error.value.law is law


def test_no_law_is_without_a_broken_reader():
    assert {law for _, law in BROKEN} == set(readers.LAWS)
