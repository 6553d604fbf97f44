"""Frames from disk to the inputs of a model: packed data compared with the notebooks' loader.

    python benchmarks/data_path.py            samples/s in turns in one run, then memory and speed by number of frames
    python benchmarks/data_path.py memory N   anonymous memory (MB) of a process that gathers from N sparse frames, and
                                              samples/s

The loader of the notebooks opens one PNG and one NPY file per sample, and converts each sample separately to floats and
points. First, both are checked to give the same tensors. Rows go to benchmarks/results/data_path.jsonl.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from statistics import median

import numpy as np
import torch
from notebook import Frames
from side_by_side import alternate, ratio, record
from torch.utils.data import DataLoader

from fusionlit.data import FractionSplit, ReplicatorDataModule, collate
from fusionlit.data.array_dataset import ArrayDataset
from fusionlit.data.loaders import Shuffled
from fusionlit.storage.mapped import map_npy
from fusionlit.synthetic import render

FRAMES, BATCH, ROUNDS, EPOCHS = 1000, 32, 7, 8
SIZES = (1_000, 10_000, 100_000, 1_000_000)


def compare(root: Path) -> None:
    """Measure samples/s of both alternately, and add a row with their ratios."""
    render(root, FRAMES)
    data, turned = (
        ReplicatorDataModule(root, "shape", FractionSplit(1, 0, 0), orientation=orientation, batch_size=BATCH)
        for orientation in ("raw", "image")
    )
    for module in (data, turned):
        module.setup("fit")
    rows = data.dataset("train").rows.tolist()
    theirs = Frames([root / name for name in data.target.names], data.dataset("train").targets, rows)
    ours = data.convert(data.dataset("train").__getitems__(list(range(len(rows)))))
    for i in range(len(rows)):
        rgb, lidar, label = theirs[i]
        torch.testing.assert_close(ours["inputs"]["rgb"][i], rgb, rtol=1e-6, atol=0)
        torch.testing.assert_close(ours["inputs"]["lidar"][i], lidar, rtol=1e-6, atol=1e-6)
        assert ours["target"][i] == label

    def notebook(workers: int) -> Callable[[], float]:
        loader = DataLoader(theirs, BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0)
        return lambda: rate(loader, lambda batch: batch, 1)

    def packed(module: ReplicatorDataModule) -> Callable[[], float]:
        return lambda: rate(module.train_dataloader(), module.convert, EPOCHS)

    ways = {f"notebook, {workers} workers": notebook(workers) for workers in (0, 1, 2)}
    ways |= {"packed": packed(data), "packed, turned to the image": packed(turned)}
    rates = alternate(ways, ROUNDS)
    best = max((name for name in ways if name.startswith("notebook")), key=lambda name: median(rates[name]))
    for way in ("packed", "packed, turned to the image"):
        for against in dict.fromkeys(("notebook, 0 workers", best)):
            per_second = {name: round(median(rates[name])) for name in (way, against)}
            times = ratio(rates[way], rates[against])
            record("data_path", {"what": f"{way} / {against}", "ratio": times, "per_second": per_second})


def rate(loader: DataLoader, convert: Callable, epochs: int) -> float:
    """Samples/s over several epochs."""
    begin = time.perf_counter()
    for _ in range(epochs):
        for batch in loader:
            convert(batch)
    return epochs * len(loader.dataset) / (time.perf_counter() - begin)


def memory(frames: int) -> None:
    """Print the peak anonymous memory (MB) while gathering batches from a sparse pack, and samples/s."""
    with tempfile.TemporaryDirectory() as folder:
        for name, dtype, shape in (("rgb", "|u1", (4, 64, 64)), ("lidar", "<f4", (64, 64))):
            with (Path(folder) / f"{name}.npy").open("wb") as file:
                header = {"descr": dtype, "fortran_order": False, "shape": (frames, *shape)}
                np.lib.format.write_array_header_1_0(file, header)
                file.truncate(file.tell() + frames * int(np.prod(shape)) * np.dtype(dtype).itemsize)
        arrays = {name: map_npy(Path(folder) / f"{name}.npy") for name in ("rgb", "lidar")}
        dataset = ArrayDataset(arrays, torch.zeros(frames, dtype=torch.long), {}, torch.arange(frames))
        loader = DataLoader(dataset, BATCH, sampler=Shuffled(dataset), collate_fn=collate)
        most, batches, begin = 0.0, 0, time.perf_counter()
        for _ in islice(loader, 300):
            most, batches = max(most, anonymous_memory()), batches + 1
        print(json.dumps([most, batches * BATCH / (time.perf_counter() - begin)]))


def anonymous_memory() -> float:
    """RssAnon of this process (MB): memory that the system cannot reclaim, unlike file pages."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def main() -> None:
    """Run all measurements."""
    with tempfile.TemporaryDirectory() as folder:
        compare(Path(folder) / "frames")
    command = [sys.executable, __file__, "memory"]
    for size in SIZES:
        told = subprocess.run([*command, str(size)], check=True, capture_output=True, text=True).stdout
        anonymous, per_second = json.loads(told)
        row = {
            "what": "gathering",
            "frames": size,
            "anonymous_mb": round(anonymous, 1),
            "per_second": round(per_second),
        }
        record("data_path", row)


if __name__ == "__main__":
    if sys.argv[1:2] == ["memory"]:
        memory(int(sys.argv[2]))
    elif len(sys.argv) == 1:
        main()
    else:
        sys.exit(__doc__)
