"""A pack is complete and up to date, or it is made again; every file here is a real one."""

import json
import os
import random
import re
import resource
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fusionlit.errors import DataError
from fusionlit.storage.pack import store
from fusionlit.storage.pack.store import open_or_pack
from tests.processes import run_two, start
from tests.storage.pack import numbers_on_disk as disk

EXPECTED = {row: float(row) for row in range(100, 1000, 100)}


@pytest.fixture
def root(tmp_path):
    return disk.write(tmp_path / "data")


@pytest.fixture
def said(caplog):
    """What was said since the last call."""
    caplog.set_level("INFO")

    def since():
        text = caplog.text
        caplog.clear()
        return text

    return since


def packs(root):
    return sorted(path.name for path in (root / ".fusionlit").glob("*/"))


def test_a_pack_holds_what_the_files_say_and_is_made_once(root, said):
    first = open_or_pack(disk.source(root))
    assert disk.values(first) == EXPECTED
    assert f"packed 10 samples into {first.folder} in " in said()
    written = {path: path.stat().st_mtime_ns for path in first.folder.iterdir()}
    second = open_or_pack(disk.source(root))
    assert (second.folder, said()) == (first.folder, "")
    assert written == {path: path.stat().st_mtime_ns for path in first.folder.iterdir()}
    for name, x in first.arrays.items():  # anybody can open them
        np.testing.assert_array_equal(np.load(first.folder / f"{name}.npy"), x[slice(0, disk.ROWS)])


def rewrite(root):
    (root / "items/300.txt").write_text("000777")


def touch(root):
    (root / "items/300.txt").touch()


def remove(root):
    (root / "items/300.txt").unlink()


def add(root):
    (root / "items/555.txt").write_text("555")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (rewrite, {**EXPECTED, 300: 777.0}),
        (touch, EXPECTED),
        (remove, {row: x for row, x in EXPECTED.items() if row != 300}),
        (add, {**EXPECTED, 555: 555.0}),
    ],
)
def test_when_a_file_changes_all_are_packed_again(root, said, change, expected):
    before = open_or_pack(disk.source(root)).folder
    said()
    change(root)
    after = open_or_pack(disk.source(root))
    assert disk.values(after) == expected
    assert f"packing it again, because 1 of its {len(disk.source(root).look())} files changed." in said()
    assert packs(root) == [after.folder.name]
    assert not before.exists()


def flip(path, at=-5000):
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def change_version(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "version": 0}))


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda folder: flip(folder / "x.npy"), r"x\.npy is damaged in rows 836 to 999"),
        (lambda folder: flip(folder / "x.npy", 200), r"x\.npy is damaged in rows 0 to 208"),
        (lambda folder: flip(folder / "x.npy", 60), r"x\.npy"),
        (lambda folder: flip(folder / "y.npy", -1), r"y\.npy is damaged in rows"),
        (
            lambda folder: os.truncate(folder / "x.npy", 10_000),
            r"x\.npy: expected at least 20000128 bytes, but got 10000",
        ),
        (lambda folder: os.truncate(folder / "x.npy", 5), r"x\.npy: expected a plain NPY array"),
        (lambda folder: (folder / "y.npy").unlink(), r"y\.npy: .* cannot be opened"),
        (lambda folder: flip(folder / "manifest.json", -20), r"manifest\.json"),
        (lambda folder: (folder / "manifest.json").unlink(), r"manifest\.json cannot be read"),
        (lambda folder: (folder / "manifest.json").write_text("[]"), r"manifest\.json cannot be read"),
        (change_version, "its format is version 0, but this is version 2"),
    ],
)
def test_a_pack_that_does_not_hold_is_made_again_and_that_is_said(root, said, damage, why):
    pack = open_or_pack(disk.source(root))
    damage(pack.folder)
    said()
    again = open_or_pack(disk.source(root))
    assert disk.values(again) == EXPECTED
    assert re.search(rf"packing it again, because .*{why}", said())
    open_or_pack(disk.source(root))
    assert said() == ""


def test_whatever_byte_is_damaged_no_damaged_value_is_used(root):
    rng = random.Random(0)
    for _ in range(40):
        pack = open_or_pack(disk.source(root))
        path = rng.choice([path for path in sorted(pack.folder.iterdir()) if path.name != "files.npy"])
        size = path.stat().st_size
        flip(path, rng.choice([rng.randrange(min(size, 200)), rng.randrange(size)]))
        assert disk.values(open_or_pack(disk.source(root))) == EXPECTED


def test_recipes_of_one_data_set_have_packs_beside_each_other_until_its_files_change(root, said):
    first = open_or_pack(disk.source(root))
    second = open_or_pack(disk.source(root, rows=2000, recipe="longer"))
    assert [len(pack.arrays["x"]) for pack in (first, second)] == [disk.ROWS, 2000]
    assert [pack.notes for pack in (first, second)] == [{"recipe": ""}, {"recipe": "longer"}]
    assert "again" not in said()
    assert open_or_pack(disk.source(root)).folder == first.folder
    assert said() == ""
    touch(root)
    third = open_or_pack(disk.source(root, recipe="longer"))
    assert "because 1 of its 10 files changed" in said()
    assert packs(root) == [third.folder.name]


def test_only_packing_asks_for_the_contents(root):
    open_or_pack(disk.source(root))

    def refuse():
        raise AssertionError

    assert disk.values(open_or_pack(replace(disk.source(root), contents=refuse))) == EXPECTED


def test_the_pack_of_a_file_lies_beside_it(root):
    file = root / "items/300.txt"
    pack = open_or_pack(replace(disk.source(root), root=file))
    assert pack.folder.parent == root / "items/.fusionlit"
    assert disk.values(pack) == EXPECTED
    assert open_or_pack(disk.source(root), root / "items").folder != pack.folder
    assert len(packs(root / "items")) == 2


def test_what_another_data_set_can_still_use_stays(root, tmp_path):
    shared, other = tmp_path / "shared", disk.write(tmp_path / "other", numbers=[7])
    theirs = open_or_pack(disk.source(other), shared).folder
    (theirs / "files.npy").unlink()  # tells only why they would be packed again
    open_or_pack(disk.source(root), shared)
    assert disk.values(open_or_pack(disk.source(other), shared)) == {7: 7.0}
    assert theirs.exists()
    (theirs / "manifest.json").unlink()
    touch(root)
    open_or_pack(disk.source(root), shared)
    assert not theirs.exists()


def test_what_cannot_be_read_is_told_again_at_every_start_also_after_a_move(root, tmp_path):
    (root / "items/300.txt").write_text("three")
    for _ in range(2):
        pack = open_or_pack(disk.source(root))
        assert pack.bad == {300: f"{root}/items/300.txt: expected a number, but got 'three'."}
        assert 300 not in disk.values(pack)
    written = (pack.folder / "x.npy").stat().st_mtime_ns
    moved = root.rename(tmp_path / "moved")
    pack = open_or_pack(disk.source(moved))
    assert pack.bad == {300: f"{moved}/items/300.txt: expected a number, but got 'three'."}
    assert (pack.folder / "x.npy").stat().st_mtime_ns == written


def test_what_could_not_be_read_is_packed_once_it_can_be_though_its_file_is_as_it_was(root, said):
    source = disk.source(root)
    contents = source.contents()

    def refuse(row):
        if row == 300:
            raise DataError(f"{root}/items/300.txt: Permission denied.")
        return contents.read(row)

    refused = replace(source, contents=lambda: replace(contents, read=refuse))
    assert list(open_or_pack(refused).bad) == [300]
    said()
    assert disk.values(open_or_pack(source)) == EXPECTED
    assert "because a file that could not be read can be read now (items/300.txt: Permission denied.)" in said()


def test_data_sets_share_a_folder_and_nothing_else_in_it_is_touched(root, tmp_path, said):
    shared = tmp_path / "shared"
    (shared / "mine").mkdir(parents=True)
    other = disk.write(tmp_path / "other", numbers=[7])
    for each in (root, other):
        open_or_pack(disk.source(each), shared)
    said()
    touch(root)
    open_or_pack(disk.source(root), shared)
    assert "because 1 of its 10 files changed" in said()
    assert disk.values(open_or_pack(disk.source(other), shared)) == {7: 7.0}
    assert said() == ""
    assert len(list((shared / ".fusionlit").glob("*/"))) == 2
    assert (shared / "mine").is_dir()
    assert not (root / ".fusionlit").exists()


def pack_slowly(root):
    print(len(disk.values(open_or_pack(disk.source(root, pause=0.3)))))


def wait_for(path):
    for _ in range(600):
        if path.exists():
            return
        time.sleep(0.1)
    raise AssertionError(f"{path} did not appear")


def test_a_packing_killed_half_way_leaves_nothing_that_is_used(root, said, tmp_path):
    process = start(pack_slowly, root, out=tmp_path / "out.txt")
    wait_for(root / ".fusionlit/unfinished/x.npy")
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert packs(root) == ["unfinished"]
    assert disk.values(open_or_pack(disk.source(root))) == EXPECTED
    assert "unfinished" not in packs(root)
    assert len(packs(root)) == 1


def test_two_processes_that_start_together_pack_once(root):
    assert [each.split()[-1] for each in run_two(pack_slowly, root)] == ["9", "9"]
    assert len(packs(root)) == 1


def test_a_full_disk_is_said_before_anything_is_read_and_leaves_nothing(root, monkeypatch):
    usage = shutil.disk_usage(root)._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DataError, match=r"room for the packed data, 0\.02 GB, but writing failed \(0\.001 GB are free"):
        open_or_pack(disk.source(root))
    assert packs(root) == []


def test_a_write_that_fails_half_way_leaves_nothing(root):
    """The system itself refuses the bytes: no file of this process may be longer than a megabyte."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    try:
        with pytest.raises(DataError, match=r"writing failed \(File too large\)\. Free some space, or set `pack`"):
            open_or_pack(disk.source(root))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert packs(root) == []


def test_a_folder_that_cannot_be_written_names_the_argument(root):
    with pytest.raises(DataError, match=r"300\.txt/\.fusionlit: expected a folder to write .*Set `pack` to a writable"):
        open_or_pack(disk.source(root), root / "items/300.txt")


def test_a_pack_made_ahead_is_read_where_nothing_can_be_written(root, monkeypatch):
    open_or_pack(disk.source(root))

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(store, "FileLock", refuse)
    monkeypatch.setattr(Path, "mkdir", refuse)
    assert disk.values(open_or_pack(disk.source(root))) == EXPECTED


def test_files_that_change_while_they_are_packed_are_refused(root):
    source = disk.source(root)
    contents = source.contents()

    def changing(row):
        touch(root)
        return contents.read(row)

    with pytest.raises(DataError, match="files changed while they were packed"):
        open_or_pack(replace(source, contents=lambda: replace(contents, read=changing)))
    assert packs(root) == []


def test_without_contents_only_what_is_quick_is_checked(root):
    pack = open_or_pack(disk.source(root))
    flip(pack.folder / "x.npy")
    assert open_or_pack(disk.source(root), contents=False).folder == pack.folder
    os.truncate(pack.folder / "x.npy", 100_000)
    assert disk.values(open_or_pack(disk.source(root), contents=False)) == EXPECTED


def test_data_sets_that_share_a_folder_do_not_share_a_pack_even_if_all_sizes_and_times_are_equal(root, tmp_path):
    other = shutil.copytree(root, tmp_path / "other")  # keeps the times
    flip(other / "items/300.txt", -1)
    for each, value in ((root, 300.0), (other, 301.0), (root, 300.0)):
        assert disk.values(open_or_pack(disk.source(each), tmp_path / "shared"))[300] == value


def test_a_link_to_nowhere_is_a_file_like_others_until_it_leads_somewhere(root):
    (root / "items/555.txt").symlink_to(root / "there.txt")
    first = disk.source(root).look()
    assert len(first) == 11
    np.testing.assert_array_equal(disk.source(root).look(), first)
    (root / "there.txt").write_text("555")
    assert len(np.setdiff1d(disk.source(root).look(), first)) == 1
