"""Frames from disk to the tensors that a model sees: the notebooks' loader against packed data.

    python benchmarks/data_path.py            samples/s, in turns in one run, and memory at 10,000 and 1,000,000 frames
    python benchmarks/data_path.py memory N   anonymous memory (MB) of a process that gathers from N sparse frames

The loader of the notebooks opens one PNG and one NPY a sample, and makes floats and points of each alone. It is first
checked that both give the same tensors. Rows go to benchmarks/results/data_path.jsonl.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import ToTensor

from fusionlit.data import FractionSplit, ReplicatorDataModule, collate
from fusionlit.data.array_dataset import ArrayDataset
from fusionlit.data.mapped import map_npy
from fusionlit.data.render import render
from fusionlit.data.shuffled import Shuffled

RESULTS = Path(__file__).parent / "results/data_path.jsonl"
FRAMES, BATCH, REPEATS, EPOCHS = 1000, 32, 5, 8
SIZES = (10_000, 1_000_000)


class OneByOne(Dataset[tuple[Tensor, Tensor, int]]):
    """As the notebooks do it: files are opened when a sample is asked for."""

    def __init__(self, root: Path, names: tuple[str, ...], rows: list[int]) -> None:
        self.files = [(root / names[row % 2], f"{row // 2:04d}", row % 2) for row in rows]
        self.to_tensor = ToTensor()
        self.azimuth = torch.from_numpy(np.load(root / names[0] / "azimuth.npy"))
        self.zenith = torch.from_numpy(np.load(root / names[0] / "zenith.npy"))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, item: int) -> tuple[Tensor, Tensor, int]:
        folder, name, label = self.files[item]
        rgb = self.to_tensor(Image.open(folder / f"rgb/{name}.png"))
        depth = torch.from_numpy(np.load(folder / f"lidar/{name}.npy"))
        across, down = -self.azimuth[:, None], -self.zenith[None, :]
        x = depth * torch.sin(across) * torch.cos(down)
        y = depth * torch.cos(across) * torch.cos(down)
        z = depth * torch.sin(down)
        return rgb, torch.stack((x, y, z, (depth < 50.0).float())), label


def compare(root: Path) -> dict[str, object]:
    """Samples/s of both, in turns, and their ratios."""
    render(root, FRAMES)
    data, turned = (
        ReplicatorDataModule(root, "shape", FractionSplit(1, 0, 0), orientation=orientation, batch_size=BATCH)
        for orientation in ("course", "image")
    )
    for module in (data, turned):
        module.setup("fit")
    rows = data.dataset("train").rows.tolist()
    ours, theirs = (
        data.convert(data.dataset("train").__getitems__(list(range(len(rows))))),
        OneByOne(root, data.target.names, rows),
    )
    for i in range(len(rows)):
        rgb, lidar, label = theirs[i]
        torch.testing.assert_close(ours["inputs"]["rgb"][i], rgb, rtol=0, atol=0)
        torch.testing.assert_close(ours["inputs"]["lidar"][i], lidar, rtol=1e-6, atol=1e-6)
        assert ours["target"][i] == label

    def notebook(workers: int) -> Callable[[], float]:
        loader = DataLoader(theirs, BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0)
        for _ in loader:  # workers start once
            pass
        return lambda: rate(loader, lambda batch: batch, 1)

    def packed(module: ReplicatorDataModule) -> Callable[[], float]:
        return lambda: rate(module.train_dataloader(), module.convert, EPOCHS)

    ways = {f"notebook, {workers} workers": notebook(workers) for workers in (0, 1, 2)}
    ways |= {"packed, 0 workers": packed(data), "packed, turned to the image": packed(turned)}
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(REPEATS):
        for name, measure in ways.items():
            rates[name].append(measure())
    best = max((name for name in ways if name.startswith("notebook")), key=lambda name: median(rates[name]))
    ratios = {}
    for way in ("packed, 0 workers", "packed, turned to the image"):
        for against in ("notebook, 0 workers", best):
            each = [ours / theirs for ours, theirs in zip(rates[way], rates[against], strict=True)]
            ratios[f"{way} / {against}"] = {"median": median(each), "least": min(each), "most": max(each)}
    return {"samples_per_second": {name: median(found) for name, found in rates.items()}, "ratios": ratios}


def rate(loader: DataLoader, convert: Callable, epochs: int) -> float:
    """Samples/s of some epochs."""
    begin = time.perf_counter()
    for _ in range(epochs):
        for batch in loader:
            convert(batch)
    return epochs * len(loader.dataset) / (time.perf_counter() - begin)


def memory(frames: int) -> None:
    """Print the most anonymous memory (MB) that was seen while batches were gathered from a sparse pack."""
    with tempfile.TemporaryDirectory() as folder:
        for name, dtype, shape in (("rgb", "|u1", (4, 64, 64)), ("lidar", "<f4", (64, 64))):
            with (Path(folder) / f"{name}.npy").open("wb") as file:
                header = {"descr": dtype, "fortran_order": False, "shape": (frames, *shape)}
                np.lib.format.write_array_header_1_0(file, header)
                file.truncate(file.tell() + frames * int(np.prod(shape)) * np.dtype(dtype).itemsize)
        arrays = {name: map_npy(Path(folder) / f"{name}.npy") for name in ("rgb", "lidar")}
        dataset = ArrayDataset(arrays, torch.zeros(frames, dtype=torch.long), {}, torch.arange(frames))
        most = 0.0
        for i, _ in enumerate(DataLoader(dataset, BATCH, sampler=Shuffled(dataset), collate_fn=collate)):
            most = max(most, anonymous_memory())
            if i == 300:
                break
        print(most)


def anonymous_memory() -> float:
    """RssAnon of this process (MB): what the system cannot give up, unlike pages of files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def main() -> None:
    """Measure all, print it, and add a row."""
    with tempfile.TemporaryDirectory() as folder:
        row = compare(Path(folder) / "frames")
    command = [sys.executable, __file__, "memory"]
    row["anonymous_mb"] = {
        str(size): float(subprocess.run([*command, str(size)], check=True, capture_output=True, text=True).stdout)
        for size in SIZES
    }
    row |= {"threads": torch.get_num_threads(), "load_average": os.getloadavg()[0]}
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("a") as file:
        file.write(json.dumps(row) + "\n")
    print(json.dumps(row, indent=1))


if __name__ == "__main__":
    if sys.argv[1:2] == ["memory"]:
        memory(int(sys.argv[2]))
    elif len(sys.argv) == 1:
        main()
    else:
        sys.exit(__doc__)
