"""Frames through their pack: the same values as from the files, wherever and by whomever they are gathered."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning import LightningModule, Trainer
from PIL import Image
from torch.utils.data import DataLoader

from fusionlit.data import ReplicatorDataModule, collate
from fusionlit.data.replicator import samples as samples_module
from fusionlit.synthetic import render
from fusionlit.types import SPLITS


def files(root, index):
    """What a sample of the shape task is, read without fusionlit."""
    folder, name = root / ("cubes", "spheres")[index % 2], f"{index // 2:04d}"
    return np.array(Image.open(folder / f"rgb/{name}.png")).transpose(2, 0, 1), np.load(folder / f"lidar/{name}.npy")


def check(batch, root):
    for i, index in enumerate(batch["index"].tolist()):
        rgb, lidar = files(root, index)
        assert (batch["inputs"]["rgb"].dtype, batch["inputs"]["lidar"].dtype) == (torch.uint8, torch.float32)
        np.testing.assert_array_equal(batch["inputs"]["rgb"][i], rgb)
        np.testing.assert_array_equal(batch["inputs"]["lidar"][i], lidar)
        assert batch["target"][i] == index % 2


def ready(root, **options):
    data = ReplicatorDataModule(root, **options)
    data.setup("fit")
    return data


def test_every_sample_is_that_of_its_files_bit_for_bit(shape_root):
    (shape_root / "cubes/rgb/0004.png").write_bytes(b"broken")
    (shape_root / "spheres/lidar/0007.npy").unlink()
    with pytest.warns(UserWarning, match="left out 2 of 40 samples"):
        data = ready(shape_root, on_bad_sample="skip")
    seen = []
    for split in SPLITS:
        batch = data.dataset(split).__getitems__(list(range(len(data.dataset(split)))))
        check(batch, shape_root)
        seen += batch["index"].tolist()
    assert sorted(seen) == [index for index in range(40) if index not in (8, 15)]


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_gather_the_same_however_they_start(shape_root, context):
    data = ready(shape_root)
    loader = DataLoader(
        data.dataset("train"), 8, shuffle=True, num_workers=2, multiprocessing_context=context, collate_fn=collate
    )
    batches = list(loader)
    for batch in batches:
        check(batch, shape_root)
    assert sorted(index for batch in batches for index in batch["index"].tolist()) == sorted(
        data.dataset("train").rows.tolist()
    )


def test_a_later_start_reads_bad_files_alone_and_finds_the_same(shape_root, monkeypatch):
    (shape_root / "cubes/rgb/0004.png").write_bytes(b"broken")
    with pytest.warns(UserWarning, match="left out 1 of 40 samples"):
        first = ready(shape_root, on_bad_sample="skip")
    read, again = samples_module.read_sample, []
    monkeypatch.setattr(
        samples_module, "read_sample", lambda sample, size: again.append(sample.index) or read(sample, size)
    )
    with pytest.warns(UserWarning, match="left out 1 of 40 samples"):
        second = ready(shape_root, on_bad_sample="skip")
    assert first.excluded == second.excluded
    assert again == [8]
    for split in SPLITS:
        a, b = (each.dataset(split).__getitems__([0, 1, 2, 3]) for each in (first, second))
        assert torch.equal(a["inputs"]["rgb"], b["inputs"]["rgb"])
        assert torch.equal(a["index"], b["index"])


def test_a_test_behind_training_goes_on_with_what_was_opened(shape_root, make_trainer):
    data, model = ReplicatorDataModule(shape_root, num_workers=1), Watcher(shape_root)
    trainer = make_trainer(limit_val_batches=0)
    trainer.fit(model, data)
    model.seen.clear()
    (shape_root / "cubes/rgb/0004.png").touch()
    trainer.test(model, data, verbose=False)  # its workers open the packed data only now
    assert sorted(model.seen) == sorted(data.dataset("test").rows.tolist())


def test_a_frame_that_was_repaired_is_there_again(shape_root):
    path = shape_root / "cubes/rgb/0004.png"
    whole = path.read_bytes()
    path.write_bytes(whole[:99])
    with pytest.warns(UserWarning, match="left out 1 of 40 samples"):
        assert list(ready(shape_root, on_bad_sample="skip").excluded) == [8]
    path.write_bytes(whole)
    assert ready(shape_root).excluded == {}


def test_an_orphan_that_moves_all_indices_moves_the_rows_too(shape_root):
    ready(shape_root)
    (shape_root / "cubes/rgb/-001.png").write_bytes((shape_root / "cubes/rgb/0000.png").read_bytes())
    (shape_root / "cubes/rgb/0000.png").rename(shape_root / "cubes/rgb/0000x.png")
    with (
        pytest.warns(UserWarning, match="left out"),
        pytest.warns(UserWarning, match="frames that other classes have are missing"),
    ):
        data = ready(shape_root, on_bad_sample="skip")
    batch = data.dataset("train").__getitems__([0, 5, 9])
    check(batch, shape_root)


def test_data_rendered_anew_is_packed_anew(tmp_path):
    for seed in (0, 1):
        render(tmp_path / "data", frames=4, seed=seed, overwrite=True)
        data = ready(tmp_path / "data", max_class_ratio=9)
        check(data.dataset("train").__getitems__([0, 1]), tmp_path / "data")
    assert len(list((tmp_path / "data/.fusionlit").glob("*/"))) == 1


def test_under_a_trainer_one_process_packs_and_all_gather(tmp_path):
    render(tmp_path / "data", frames=24)
    path = os.pathsep.join([str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    command = [sys.executable, __file__, tmp_path / "data"]
    run = subprocess.run(command, env=env, timeout=280, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert (run.stdout + run.stderr).count("packed 48 samples") == 1
    # Not by lines: both processes write to one pipe, and progress bars beside them.
    seen = [[int(number) for number in told.split()] for told in re.findall(r"saw ((?:\d+ ?)+)", run.stdout)]
    assert len(seen) == 2, run.stdout + run.stderr
    data = ready(tmp_path / "data")
    assert sorted(seen[0] + seen[1]) == sorted(data.dataset("train").rows.tolist())


class Watcher(LightningModule):
    """Checks every batch that reaches it against the files."""

    def __init__(self, root):
        super().__init__()
        self.root, self.seen = root, []
        self.scale = torch.nn.Parameter(torch.ones(()))

    def watch(self, batch):
        rgb = (batch["inputs"]["rgb"] * 255).round().to(torch.uint8)
        for i, index in enumerate(batch["index"].tolist()):
            np.testing.assert_array_equal(rgb[i], files(self.root, index)[0])
        self.seen += batch["index"].tolist()

    def training_step(self, batch):
        self.watch(batch)
        return batch["inputs"]["lidar"].mean() * self.scale

    def validation_step(self, batch):
        self.watch(batch)

    def test_step(self, batch):
        self.watch(batch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-3)


if __name__ == "__main__":
    root = Path(sys.argv[1])
    quiet = dict.fromkeys(["logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"], False)
    trainer = Trainer(max_epochs=1, limit_val_batches=0, strategy="ddp", accelerator="cpu", devices=2, **quiet)
    model = Watcher(root)
    trainer.fit(model, ReplicatorDataModule(root, batch_size=4, num_workers=1))
    # In one write: where output is not buffered, `print` makes one per number, and two processes mix theirs.
    os.write(1, " ".join(["saw", *map(str, model.seen), "\n"]).encode())
