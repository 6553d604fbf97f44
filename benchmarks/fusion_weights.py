"""Do fusion weights move, and do they rank sensors correctly? On planted sensors and on UCI HAR; resumable.

    python benchmarks/fusion_weights.py planted    ten seeds of the default and of the paper's raw form
    python benchmarks/fusion_weights.py uci_har    five seeds of every setting of the notebook, on the official folder
                                                   in data/uci_har

Every finished run is a line in benchmarks/results/; the same command continues an interrupted benchmark, and prints the
table. There is no checkpoint selection: the model of the last epoch is tested once.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from question_rows import last_layer, summary, train_all
from the_question import DEFAULT, SETTINGS, WEIGHTS, Plan, Setting

from fusionlit.compare import Row
from fusionlit.synthetic import render

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
PLANTED = ROOT / "data/planted_benchmark"
FORMS = {
    "default": DEFAULT,
    "raw": replace(WEIGHTS, weights="raw", source_norm=False),
}
AXES = {sensor: [f"{sensor}_{axis}" for axis in "xyz"] for sensor in ("body_acc", "body_gyro", "total_acc")}


def planted() -> None:
    """9,600 training windows of four planted sensors, five epochs."""
    if not PLANTED.exists():
        render(PLANTED, frames=4000, task="signals", seed=0)
    split = {"class_path": "FractionSplit", "init_args": {"train": 0.6, "val": 0.2, "test": 0.2, "seed": 0}}
    data = {"path": str(PLANTED / "signals.npz"), "split": split, "batch_size": 64}
    rows = train("planted.jsonl", FORMS, range(10), "ArrayDataModule", data, epochs=5)
    print(summary(rows, ["strong", "weak", "redundant", "noise"]))
    for name in FORMS:
        shares = [
            {source: x.get("attribution", 0.0) for source, x in last_layer(row).items()}
            for row in rows
            if row.model == name
        ]
        ranked = sum(x["strong"] > x["weak"] > x["noise"] for x in shares)
        worst = max(x["noise"] for x in shares)
        print(f"{name}: strong > weak > noise in {ranked} of {len(shares)} seeds; noise at most {worst:.3f}")


def uci_har() -> None:
    """The official split, with validation split by subject, four epochs."""
    split = {"class_path": "OfficialSplit", "init_args": {"val": 0.2, "seed": 0}}
    data = {"root": str(ROOT / "data/uci_har"), "modalities": AXES, "split": split, "batch_size": 64}
    rows = train("uci_har_settings.jsonl", SETTINGS, range(5), "SignalDataModule", data, epochs=4)
    print(summary(rows, list(AXES)))


def train(
    file: str, settings: Mapping[str, Setting], seeds: Sequence[int], kind: str, data: dict[str, Any], epochs: int
) -> list[Row]:
    """All rows; those already in `file` are not trained again."""
    source = {"class_path": kind, "init_args": data}
    return train_all(settings, seeds, Plan(source, epochs, (16, 32, 32), (64,), 0.5, results=RESULTS / file))


if __name__ == "__main__":
    COMMANDS = {"planted": planted, "uci_har": uci_har}
    if len(sys.argv) != 2 or sys.argv[1] not in COMMANDS:
        sys.exit(__doc__)
    COMMANDS[sys.argv[1]]()
