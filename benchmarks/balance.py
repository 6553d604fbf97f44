"""Every way of balancing modalities against none, on planted signals and an imbalanced pair of arrays; resumable.

    python benchmarks/balance.py            three seeds
    python benchmarks/balance.py SEEDS      more or fewer
    python benchmarks/balance.py SEEDS pair another number on one data set only (pair, signals)

`pair` has two sensors that are as good as each other but not as easy: `plain` shows the class as an offset, `hidden`
as the sign of a product of two channels' offsets. The best rule is right in 85 % with either alone. `signals` has four
sensors of known worth. The model is that of configs/model/signals/intermediate_concat_multitask.yaml, with small
unimodal losses in `probed`, so that the heads say how well each modality is learned while hardly anything teaches them,
and with whole ones in `multitask`. Teachers of UMT are trained once per seed. The checkpoint that validation
chooses is tested, once. Rows go to benchmarks/results/balance_*.jsonl, runs to runs/balance.
"""

import os
import shutil
import sys
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import yaml
from variants import write

from fusionlit.compare import Row, compare
from fusionlit.synthetic import render

OUT = Path("runs/balance")
METHODS = {
    "none": None,
    "ogmge": "OGMGE",
    "mmpareto": "MMPareto",
    "amco": "AMCo",
    "gblending": {"class_path": "GBlending", "init_args": {"every_n_epochs": 3}},
}
LOSSES = {"probed": 0.01, "multitask": 1.0}
EPOCHS = 20
SPLIT = {"class_path": "fusionlit.data.FractionSplit", "init_args": {"train": 0.4, "val": 0.2, "test": 0.4, "seed": 0}}


def main() -> None:
    """Train what is not trained yet, print a table for each data set."""
    os.chdir(Path(__file__).parents[1])
    seeds, *chosen = [int(sys.argv[1]), *sys.argv[2:]] if sys.argv[1:] else [3]
    for data in chosen or ["pair", "signals"]:
        file, sensors = {"pair": pair, "signals": signals}[data]()
        rows = train(data, file, sensors, seeds)
        Path("benchmarks/results").mkdir(exist_ok=True)
        shutil.copy(OUT / data / "rows.jsonl", f"benchmarks/results/balance_{data}.jsonl")
        print(markdown(data, rows, sensors))


def pair(samples: int = 6000) -> tuple[Path, list[str]]:
    """Write the two sensors, and the file that reads them."""
    folder = OUT / "data"
    path = folder / "pair.npz"
    if not path.exists():
        rng = np.random.default_rng(0)
        label = rng.integers(2, size=samples)
        sign = 2.0 * label - 1
        plain = 0.37 * sign[:, None, None] + 2 * rng.normal(size=(samples, 2, 16))
        hidden = rng.normal(size=(samples, 2, 16))
        first = rng.choice([-1.0, 1.0], size=samples)
        hidden += 0.348 * np.stack([first, first * sign], 1)[:, :, None]
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(path, plain=plain.astype("float32"), hidden=hidden.astype("float32"), target=label)
    return data_file("pair", path, ["plain", "hidden"]), ["plain", "hidden"]


def signals() -> tuple[Path, list[str]]:
    """Render the four sensors, and write the file that reads them."""
    root, sensors = OUT / "data" / "signals", ["strong", "weak", "redundant", "noise"]
    if not (root / "signals.npz").exists():
        render(root, frames=1000, task="signals")
    return data_file("signals", root / "signals.npz", sensors), sensors


def data_file(name: str, path: Path, sensors: list[str]) -> Path:
    """Write the data module's file."""
    arguments = {"path": str(path), "modalities": sensors, "split": SPLIT, "batch_size": 64}
    return write(
        OUT / "configs" / f"{name}.yaml", {"class_path": "fusionlit.data.ArrayDataModule", "init_args": arguments}
    )


def train(data: str, file: Path, sensors: list[str], seeds: int) -> list[Row]:
    """Every method with both weights of the unimodal losses; then UMT, seed by seed, with that seed's teachers."""
    folder = OUT / "configs" / data
    trainer = write(folder / "trainer.yaml", {"max_epochs": EPOCHS, "accelerator": "cpu", "enable_progress_bar": False})
    encoder = base()["init_args"]["encoder"]
    teachers = [
        write(
            folder / f"teacher_{name}.yaml",
            {"class_path": "Unimodal", "init_args": {"modality": name, "encoder": encoder}},
        )
        for name in sensors
    ]
    models = [
        model_file(folder, f"{losses}_{method}", weight, balance)
        for losses, weight in LOSSES.items()
        for method, balance in METHODS.items()
    ]
    rows = compare(file, [*teachers, *models], seeds, trainer, OUT / data)
    for seed in range(seeds):  # a row of `compare` is of one file, and each seed has teachers of its own
        runs = {name: OUT / data / f"teacher_{name}" / f"seed{seed}/checkpoints/best.ckpt" for name in sensors}
        paths = {name: str(path) for name, path in runs.items()}
        balance = {"class_path": "UMT", "init_args": {"teachers": paths, "weight": 5.0}}
        umt = [model_file(folder, f"{losses}_umt_of_{seed}", weight, balance) for losses, weight in LOSSES.items()]
        found = compare(file, umt, seed + 1, trainer, OUT / data)
        rows += [{**row, "model": row["model"].removesuffix(f"_of_{seed}")} for row in found if row["seed"] == seed]
    return rows


def model_file(folder: Path, name: str, weight: float, balance: object) -> Path:
    """The shipped model with this weight of unimodal losses and this balance."""
    model = base()
    model["init_args"]["training"] = {"unimodal_loss_weight": weight, "balance": balance}
    return write(folder / f"{name}.yaml", model)


def base() -> dict:
    """The shipped model."""
    return yaml.safe_load(Path("configs/model/signals/intermediate_concat_multitask.yaml").read_text())


def markdown(data: str, rows: list[Row], sensors: list[str]) -> str:
    """One row per method: test accuracy, and the test loss of each unimodal head, the smaller the better."""
    columns = ["test/accuracy", *(f"test/unimodal_loss/{name}" for name in sensors)]
    lines = [
        f"| {data} | accuracy % | {' | '.join(f'loss of {name}' for name in sensors)} |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for model in dict.fromkeys(row["model"] for row in rows):
        cells = []
        for column in columns:
            values = [
                row[column] * (100 if "accuracy" in column else 1)
                for row in rows
                if row["model"] == model and column in row
            ]
            spread = f" ± {stdev(values):.2f}" if len(values) > 1 else ""
            cells.append(f"{mean(values):.2f}{spread}" if values else "")
        lines.append(f"| `{model}` | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
