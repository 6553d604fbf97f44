"""Every method for modality balance, compared with none, on planted signals and an imbalanced pair; resumable.

    python benchmarks/balance.py            three seeds
    python benchmarks/balance.py SEEDS      more or fewer
    python benchmarks/balance.py SEEDS pair another number on one data set only (pair, signals)

`pair` has two sensors that are equally informative but not equally easy to learn: `plain` shows the class as an offset,
`hidden` as the sign of a product of two channels' offsets. The optimal rule has an accuracy of 85 % with either
alone. `signals` has four sensors with known informativeness. The model is
configs/model/signals/intermediate_concat_multitask.yaml, with small unimodal losses in `probed`, so that the heads
measure how well each modality is learned but hardly affect training, and with full ones in `multitask`. The teachers of
UMT are trained once per seed. The best checkpoint is tested once. Rows go to benchmarks/results/balance_*.jsonl, runs
to runs/balance.
"""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from fusionlit.compare import Candidate, Column, Row, table, train_all, values
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
MODEL = Path("configs/model/signals/intermediate_concat_multitask.yaml")
RESULTS = Path("benchmarks/results")
TRAINER = {"max_epochs": EPOCHS, "accelerator": "cpu", "enable_progress_bar": False}
SPLIT = {"class_path": "fusionlit.data.FractionSplit", "init_args": {"train": 0.4, "val": 0.2, "test": 0.4, "seed": 0}}


def main() -> None:
    """Train the missing runs, and print a table for each data set."""
    os.chdir(Path(__file__).parents[1])
    seeds, *chosen = [int(sys.argv[1]), *sys.argv[2:]] if sys.argv[1:] else [3]
    for data in chosen or ["pair", "signals"]:
        source, sensors = {"pair": pair, "signals": signals}[data]()
        print(f"{data}\n{summary(train(data, source, sensors, seeds), sensors)}")


def pair(samples: int = 6000) -> tuple[dict[str, Any], list[str]]:
    """Write the two sensors, and return the data module that reads them."""
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
    return data_module(path, ["plain", "hidden"]), ["plain", "hidden"]


def signals() -> tuple[dict[str, Any], list[str]]:
    """Render the four sensors, and return the data module that reads them."""
    root, sensors = OUT / "data" / "signals", ["strong", "weak", "redundant", "noise"]
    if not (root / "signals.npz").exists():
        render(root, frames=1000, task="signals")
    return data_module(root / "signals.npz", sensors), sensors


def data_module(path: Path, sensors: list[str]) -> dict[str, Any]:
    """Configuration of the data module."""
    arguments = {"path": str(path), "modalities": sensors, "split": SPLIT, "batch_size": 64}
    return {"class_path": "fusionlit.data.ArrayDataModule", "init_args": arguments}


def train(data: str, source: dict[str, Any], sensors: list[str], seeds: int) -> list[Row]:
    """Train every method with both weights of the unimodal losses; then UMT, with one set of teachers per seed."""
    out, ledger = OUT / data, RESULTS / f"balance_{data}.jsonl"
    encoder = yaml.safe_load(MODEL.read_text())["init_args"]["encoder"]
    models = {
        f"teacher_{name}": Candidate("Unimodal", {"model.modality": name, "model.encoder": encoder}) for name in sensors
    }
    for losses, weight in LOSSES.items():
        models |= {f"{losses}_{method}": candidate(weight, balance) for method, balance in METHODS.items()}
    rows = train_all(source, models, range(seeds), TRAINER, out, ledger)
    for seed in range(seeds):
        runs = {name: str(out / f"teacher_{name}/seed{seed}/checkpoints/best.ckpt") for name in sensors}
        balance = {"class_path": "UMT", "init_args": {"teachers": runs, "weight": 5.0}}
        umt = {f"{losses}_umt": candidate(weight, balance) for losses, weight in LOSSES.items()}
        rows += train_all(source, umt, [seed], TRAINER, out, ledger)
    return rows


def candidate(weight: float, balance: object) -> Candidate:
    """The shipped model at a constant learning rate, with this unimodal loss weight and this balance."""
    training = {"scheduler": None, "unimodal_loss_weight": weight, "balance": balance}
    return Candidate(MODEL, {"model.training": training})


def summary(rows: list[Row], sensors: list[str]) -> str:
    """One line per method: test accuracy, and the test loss of each unimodal head (smaller is better)."""
    columns = {"accuracy %": Column(values(rows, "test/accuracy", 100), 2)}
    for name in sensors:
        metric = f"test/unimodal_loss/{name}"
        columns[f"loss of {name}"] = Column(values([row for row in rows if metric in row.metrics], metric), 2)
    return table(columns).markdown()


if __name__ == "__main__":
    main()
