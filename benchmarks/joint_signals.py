"""Which models learn labels that depend on two sensors jointly? All shipped models, three interactions; resumable.

    python benchmarks/joint_signals.py                 trains the missing runs, prints the table
    python benchmarks/joint_signals.py exclusive_or    only trains, on one of exclusive_or, ratio and synchrony
    python benchmarks/joint_signals.py seeds           ten seeds of CentralNet on exclusive_or, with all windows and
                                                       with a quarter of them, the latter also without augmentation

Two processes may train at once, on different data. The best checkpoint is tested once.
Rows go to benchmarks/results/joint_*.jsonl, runs to runs/joint_signals.
"""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import mean
from typing import Any

from fusionlit.compare import Candidate, Column, Ledger, Row, table, train_all, values
from fusionlit.synthetic import render

INTERACTIONS = ("exclusive_or", "ratio", "synchrony")
SENSORS = ("left", "right", "noise")
SEEDS = 1
ROOT = Path("data/joint_signals")
OUT = Path("runs/joint_signals")
RESULTS = Path("benchmarks/results")
SHIPPED = Path("configs/model")
REFUSED = ("intermediate_bilinear", "intermediate_matmul", "intermediate_tensor")
"""Models left out: too many weights for three sensors, or square maps required."""


def main() -> None:
    """Train and print."""
    os.chdir(Path(__file__).parents[1])
    chosen = sys.argv[1:] or list(INTERACTIONS)
    if not set(chosen) <= {*INTERACTIONS, "seeds"}:
        sys.exit(__doc__)
    if not ROOT.exists():
        render(ROOT, frames=2000, task="joint_signals")
    for name in chosen:
        if name == "seeds":
            train_seeds()
        else:
            train(f"joint_{name}", name, models(), SEEDS)
    if not sys.argv[1:]:
        print(results())


def train(
    name: str,
    interaction: str,
    models: dict[str, Candidate],
    seeds: int,
    overrides: Mapping[str, Any] | None = None,
) -> list[Row]:
    """Train all models on the data of one interaction; returns their rows."""
    data = Path(f"configs/data/joint_{interaction}.yaml")
    return train_all(data, models, range(seeds), None, OUT / name, RESULTS / f"{name}.jsonl", overrides)


def models() -> dict[str, Candidate]:
    """The shipped fusion models, and each sensor alone."""
    alone = SHIPPED / "unimodal_rgb.yaml"
    single = {f"unimodal_{sensor}": Candidate(alone, {"model.modality": sensor}) for sensor in SENSORS[:2]}
    shipped = [file for file in sorted(SHIPPED.glob("*.yaml")) if not file.stem.startswith("unimodal_")]
    return single | {file.stem: Candidate(file) for file in shipped if file.stem not in REFUSED}


def train_seeds() -> None:
    """Train CentralNet on the exclusive or, with 2,400 and with 600 training windows."""
    small = Path(f"{ROOT}_small")
    if not small.exists():
        render(small, frames=500, task="joint_signals")
    few = {"data.path": small / "exclusive_or.npz"}
    ways = {"joint_seeds": {}, "joint_seeds_few": few, "joint_seeds_few_plain": {**few, "data.augmentation": None}}
    centralnet = {"centralnet": Candidate(SHIPPED / "centralnet.yaml")}
    for name, overrides in ways.items():
        rows = train(name, "exclusive_or", centralnet, 10, overrides)
        accuracy = sorted(values(rows, "test/accuracy", 100)["centralnet"])
        print(f"{name}: mean {mean(accuracy):.2f} %, lowest {accuracy[0]:.2f} %, all {accuracy}")


def results() -> str:
    """One line per model: mean test accuracy (%) on each interaction, below that of the optimal rule."""
    truth = json.loads((ROOT / "truth.json").read_text())["interactions"]
    columns = {}
    for name in INTERACTIONS:
        best = {
            "best rule, both sensors": truth[name]["accuracy"]["left+right+noise"],
            "best rule, left alone": truth[name]["accuracy"]["left"],
            "average of the single sensors' best logits": truth[name]["late_average"]["logits"],
        }
        measured = values(Ledger(RESULTS / f"joint_{name}.jsonl").rows(), "test/accuracy", 100)
        by_kind = dict(sorted(measured.items(), key=lambda item: (item[0].startswith("unimodal"), item[0])))
        cells = {label: [100 * each["value"]] for label, each in best.items()}
        columns[name] = Column(cells | {f"`{model}`": x for model, x in by_kind.items()}, 1)
    return table(columns, "").markdown()


if __name__ == "__main__":
    main()
