"""Which fusion learns what only two sensors together know? All shipped models on three planted interactions; resumable.

    python benchmarks/joint_signals.py                 trains what is not trained yet, prints the table
    python benchmarks/joint_signals.py exclusive_or    trains on one of exclusive_or, ratio and synchrony, no more
    python benchmarks/joint_signals.py seeds           ten seeds of CentralNet on exclusive_or, with all windows and
                                                       with a quarter of them, the latter also without augmentation

Two processes may train at once, on different data. The checkpoint that validation chooses is tested, once.
Rows go to benchmarks/results/joint_*.jsonl, runs to runs/joint_signals.
"""

import json
import os
import shutil
import sys
from pathlib import Path
from statistics import mean

from variants import changed

from fusionlit.compare import compare, read_rows
from fusionlit.synthetic import render

INTERACTIONS = ("exclusive_or", "ratio", "synchrony")
SENSORS = ("left", "right", "noise")
SEEDS = 1
ROOT = Path("data/joint_signals")
OUT = Path("runs/joint_signals")
FILES = OUT / "files"
RESULTS = Path("benchmarks/results")
SHIPPED = Path("configs/model")
REFUSED = ("intermediate_bilinear", "intermediate_matmul", "intermediate_tensor")
"""Models with too many weights for three sensors, and one that needs square maps."""


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
            train(f"joint_{name}", Path(f"configs/data/joint_{name}.yaml"), models(), SEEDS)
    if not sys.argv[1:]:
        print(table())


def train(name: str, data: Path, files: list[Path], seeds: int) -> list[dict[str, float]]:
    """Rows of all models on one data file."""
    rows = compare(data, files, seeds, out=OUT / name)
    shutil.copy(OUT / name / "rows.jsonl", RESULTS / f"{name}.jsonl")
    return rows


def models() -> list[Path]:
    """The shipped models of fusion, and each sensor alone."""
    single = [
        changed(SHIPPED / "unimodal_rgb.yaml", FILES, f"unimodal_{sensor}", {"modality": sensor})
        for sensor in SENSORS[:2]
    ]
    shipped = [file for file in sorted(SHIPPED.glob("*.yaml")) if not file.stem.startswith("unimodal_")]
    return single + [file for file in shipped if file.stem not in REFUSED]


def train_seeds() -> None:
    """CentralNet on the exclusive or of 2,400 and of 600 training windows."""
    small = Path(f"{ROOT}_small")
    if not small.exists():
        render(small, frames=500, task="joint_signals")
    data = Path("configs/data/joint_exclusive_or.yaml")
    few = changed(data, FILES, "joint_exclusive_or_few", {"path": str(small / "exclusive_or.npz")})
    plain = changed(few, FILES, "joint_exclusive_or_few_plain", {"augmentation": None})
    for name, file in (("joint_seeds", data), ("joint_seeds_few", few), ("joint_seeds_few_plain", plain)):
        values = sorted(100 * row["test/accuracy"] for row in train(name, file, [SHIPPED / "centralnet.yaml"], 10))
        print(f"{file.stem}: mean {mean(values):.2f} %, lowest {values[0]:.2f} %, all {values}")


def table() -> str:
    """A line per model: mean test accuracy (%) on each interaction, and the truth."""
    truth = json.loads((ROOT / "truth.json").read_text())["interactions"]
    accuracy: dict[str, dict[str, list[float]]] = {}
    for name in INTERACTIONS:
        for row in read_rows(RESULTS / f"joint_{name}.jsonl"):
            accuracy.setdefault(row["model"], {}).setdefault(name, []).append(100 * row["test/accuracy"])
    lines = ["| | " + " | ".join(INTERACTIONS) + " |", "|---|" + "---:|" * len(INTERACTIONS)]
    for label, key in (("best rule, both sensors", "left+right+noise"), ("best rule, left alone", "left")):
        values = [100 * truth[name]["accuracy"][key]["value"] for name in INTERACTIONS]
        lines.append(f"| {label} | " + " | ".join(f"{value:.1f}" for value in values) + " |")
    values = [100 * truth[name]["late_average"]["logits"]["value"] for name in INTERACTIONS]
    lines.append("| average of the single sensors' best logits | " + " | ".join(f"{x:.1f}" for x in values) + " |")
    for model, by in sorted(accuracy.items(), key=lambda item: (item[0].startswith("unimodal"), item[0])):
        cells = ["  ".join(f"{x:.1f}" for x in by.get(name, [])) for name in INTERACTIONS]
        lines.append(f"| `{model}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
