"""Every operator and strategy against every single sensor, on rendered frames and on planted signals; resumable.

    python benchmarks/fusion_comparison.py            trains what is not trained yet, prints the table, draws the figure
    python benchmarks/fusion_comparison.py frames     trains on one of the two data sets (frames, signals), no more

The two data sets may be trained on at once, in a process each. The checkpoint that validation chooses is
tested, once. Rows go to benchmarks/results/fusion_comparison_*.jsonl, runs to runs/fusion_comparison, the figure to
docs/images.
"""

import json
import os
import shutil
import sys
from pathlib import Path
from statistics import mean, stdev

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fusionlit.compare import Row, compare, read_rows
from fusionlit.data.render import render

SEEDS = 2
OUT = Path("runs/fusion_comparison")
RESULTS = Path("benchmarks/results")
SHIPPED = Path("configs/model")
DATA = {"frames": Path("configs/data/replicator_compare.yaml"), "signals": Path("configs/data/planted_compare.yaml")}
SENSORS = {"frames": ["rgb", "lidar"], "signals": ["strong", "weak", "redundant", "noise"]}
CHANGED: dict[str, dict[str, tuple[str, str, str]]] = {
    "frames": {},
    "signals": {
        "intermediate_bilinear_rank": (
            "intermediate_bilinear",
            "fusion: Bilinear",
            "fusion: {class_path: Bilinear, init_args: {rank: 4}}",
        ),
        "intermediate_tensor_narrow": ("intermediate_tensor", "dense: [32]", "dense: [16]"),
    },
}
"""Models that are not shipped: the file that they come from, and the one line that differs."""
REFUSED = {"frames": (), "signals": ("intermediate_bilinear", "intermediate_matmul", "intermediate_tensor")}
"""Models with too many weights for four sensors, and one that needs square maps."""


def main() -> None:
    """Train, print, draw."""
    os.chdir(Path(__file__).parents[1])
    chosen = sys.argv[1:] or list(DATA)
    if not set(chosen) <= set(DATA):
        sys.exit(__doc__)
    for task in chosen:
        train(task)
    if chosen == list(DATA):
        rows = {task: read_rows(results(task)) for task in DATA}
        print(markdown_table(rows))
        draw(rows).savefig("docs/images/fusion_comparison.png")


def train(task: str) -> None:
    """Train every model on one data set, which is rendered if it is not there."""
    if task == "frames" and not Path("data/replicator_compare").exists():
        render(Path("data/replicator_compare"), frames=1000)
    if task == "signals" and not Path("data/planted_compare").exists():
        render(Path("data/planted_compare"), frames=4000, task="signals")
    compare(DATA[task], model_files(task), SEEDS, Path("configs/trainer/compare.yaml"), OUT / task)
    shutil.copy(OUT / task / "rows.jsonl", results(task))


def results(task: str) -> Path:
    """Where the rows of a data set are kept."""
    return RESULTS / f"fusion_comparison_{task}.jsonl"


def model_files(task: str) -> list[Path]:
    """The shipped models of fusion, and those with one line changed, which are written beside the runs."""
    single = {f"unimodal_{x}": ("unimodal_rgb", "modality: rgb", f"modality: {x}") for x in SENSORS[task]}
    folder = OUT / task / "models"
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, (source, line, instead) in {**single, **CHANGED[task]}.items():
        text = (SHIPPED / f"{source}.yaml").read_text()
        written.append(folder / f"{name}.yaml")
        written[-1].write_text(text.replace(line, instead))
    shipped = [file for file in sorted(SHIPPED.glob("*.yaml")) if not file.stem.startswith("unimodal_")]
    return written + [file for file in shipped if file.stem not in REFUSED[task]]


def accuracies(rows: list[Row]) -> dict[str, list[float]]:
    """Accuracies (%) of each model, in the order of the seeds."""
    ordered = sorted(rows, key=lambda row: (row["model"], row["seed"]))
    return {
        name: [100 * row["test/accuracy"] for row in ordered if row["model"] == name]
        for name in dict.fromkeys(row["model"] for row in ordered)
    }


def best_single(accuracy: dict[str, list[float]]) -> str:
    """The single sensor with the highest mean accuracy on the test split: the hardest to beat."""
    return max((name for name in accuracy if name.startswith("unimodal_")), key=lambda name: mean(accuracy[name]))


def markdown_table(rows: dict[str, list[Row]]) -> str:
    """A line a model: mean ± standard deviation of the accuracy, and in how many seeds it beats the best sensor."""
    cells: dict[str, dict[str, str]] = {}
    for task, own in rows.items():
        accuracy = accuracies(own)
        best = accuracy[best_single(accuracy)]
        for name, values in accuracy.items():
            gain = [a - b for a, b in zip(values, best, strict=True)]
            told = "" if values is best else f" ({mean(gain):+.2f}; {sum(x > 0 for x in gain)} of {len(gain)})"
            cells.setdefault(name, {})[task] = f"{mean(values):.2f} ± {stdev(values):.2f}{told}"
        for name in REFUSED[task]:
            cells.setdefault(name, {})[task] = "refused"
    names = sorted(cells, key=lambda name: (name.startswith("unimodal_"), name))
    lines = ["| model | " + " | ".join(rows) + " |", "|---|" + "---|" * len(rows)]
    return "\n".join(lines + [f"| `{n}` | " + " | ".join(cells[n].get(t, "") for t in rows) + " |" for n in names])


def draw(rows: dict[str, list[Row]]) -> Figure:
    """A panel a data set: a dot a run, the models in the order of their means, the best single sensor as a line."""
    figure = Figure(figsize=(11, 5.6), dpi=110, layout="constrained")
    truth = json.loads(Path("data/planted_compare/truth.json").read_text())["accuracy"]
    bound = 100 * truth["+".join(SENSORS["signals"])]["value"]
    for axes, (task, own) in zip(figure.subplots(1, len(rows)), rows.items(), strict=True):
        draw_panel(axes, accuracies(own))
        axes.set_title(task, loc="left", fontsize=10, fontweight="bold")
        if task == "signals":
            axes.axvline(bound, color="#009E73", linestyle=":", label="best rule, all sensors")
        axes.legend(loc="lower right", bbox_to_anchor=(0.94, 0), frameon=False, fontsize=8)
    return figure


def draw_panel(axes: Axes, accuracy: dict[str, list[float]]) -> None:
    """One data set; of the single sensors only the best."""
    best = best_single(accuracy)
    shown = [name for name in accuracy if name == best or not name.startswith("unimodal_")]
    names = sorted(shown, key=lambda name: mean(accuracy[name]))
    for y, name in enumerate(names):
        color = "#D55E00" if name == best else "#0072B2"
        axes.plot(accuracy[name], [y] * len(accuracy[name]), "o", color=color, markersize=4, alpha=0.8)
        axes.plot(mean(accuracy[name]), y, "|", color=color, markersize=12)
    label = f"{best.removeprefix('unimodal_')} alone"
    axes.axvline(mean(accuracy[best]), color="#D55E00", linestyle="--", label=label)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_xlabel("test accuracy %")
    axes.grid(color="#E6E6E6", linewidth=0.8, axis="x")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8, color="#8A8A8A")


if __name__ == "__main__":
    main()
