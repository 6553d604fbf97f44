"""Every shipped model against every single sensor, on rendered frames and on planted signals; resumable.

    python benchmarks/fusion_comparison.py                  trains what is not trained yet, prints the table, draws
    python benchmarks/fusion_comparison.py SET [SEEDS]      trains on one of frames40, frames200 and signals, no more

Several sets may be trained on at once, in a process each. Every run is that of `fusionlit fit`: the checkpoint that
validation chooses is tested, once. Rows go to benchmarks/results/fusion_comparison_*.jsonl, runs to
runs/fusion_comparison, the figure to docs/images.
"""

import json
import os
import shutil
import sys
from pathlib import Path
from statistics import mean, stdev

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from variants import changed

from fusionlit.compare import Row, compare, read_rows
from fusionlit.synthetic import render

OUT = Path("runs/fusion_comparison")
RESULTS = Path("benchmarks/results")
SHIPPED = Path("configs/model")
SEEDS = {"frames40": 5, "frames200": 5, "signals": 2}
FRAMES, SIGNALS = ["rgb", "lidar"], ["strong", "weak", "redundant", "noise"]
SENSORS = {"frames40": FRAMES, "frames200": FRAMES, "signals": SIGNALS}
REFUSED = {"signals": ("intermediate_bilinear", "intermediate_matmul", "intermediate_tensor")}
"""Models with too many weights for four sensors, and one that needs square maps."""


def main() -> None:
    """Train, print, draw."""
    os.chdir(Path(__file__).parents[1])
    chosen, *seeds = sys.argv[1:] or [None]
    if chosen not in (None, *SEEDS):
        sys.exit(__doc__)
    for name in [chosen] if chosen else SEEDS:
        train(name, int(seeds[0]) if seeds else SEEDS[name])
    if not chosen:
        rows = {name: read_rows(results(name)) for name in SEEDS}
        print(markdown_table(rows))
        draw(rows).savefig("docs/images/fusion_comparison.png")


def train(name: str, seeds: int) -> None:
    """Train every model on one data set, which is rendered if it is not there."""
    frames, signals = Path("data/replicator_compare"), Path("data/planted_compare")
    if name == "signals" and not signals.exists():
        render(signals, frames=4000, task="signals")
    if name != "signals" and not frames.exists():
        render(frames, frames=1000)
    compare(data_file(name), model_files(name), seeds, out=OUT / name)
    shutil.copy(OUT / name / "rows.jsonl", results(name))


def data_file(name: str) -> Path:
    """The shipped data file; for 200 training frames with another cut."""
    file = Path("configs/data") / ("planted_compare.yaml" if name == "signals" else "replicator_compare.yaml")
    more = {"split.train": 0.1, "split.test": 0.86}
    return changed(file, OUT / "files", name, more) if name == "frames200" else file


def results(name: str) -> Path:
    """Where the rows of a data set are kept."""
    return RESULTS / f"fusion_comparison_{name}.jsonl"


def model_files(name: str) -> list[Path]:
    """Each sensor alone, and the shipped models of fusion."""
    alone = SHIPPED / "unimodal_rgb.yaml"
    single = [changed(alone, OUT / "files", f"unimodal_{x}", {"modality": x}) for x in SENSORS[name]]
    shipped = [file for file in sorted(SHIPPED.glob("*.yaml")) if not file.stem.startswith("unimodal_")]
    return single + [file for file in shipped if file.stem not in REFUSED.get(name, ())]


def accuracies(rows: list[Row]) -> dict[str, list[float]]:
    """Accuracies (%) of each model, in the order of the seeds, of which every model has a row."""
    models = {row["model"] for row in rows}
    whole = [
        seed for seed in {row["seed"] for row in rows} if {r["model"] for r in rows if r["seed"] == seed} == models
    ]
    ordered = sorted(rows, key=lambda row: (row["model"], row["seed"]))
    return {
        name: [100 * row["test/accuracy"] for row in ordered if row["model"] == name and row["seed"] in whole]
        for name in dict.fromkeys(row["model"] for row in ordered)
    }


def best_single(accuracy: dict[str, list[float]]) -> str:
    """The single sensor with the highest mean accuracy on the test split: the hardest to beat."""
    return max((name for name in accuracy if name.startswith("unimodal_")), key=lambda name: mean(accuracy[name]))


def markdown_table(rows: dict[str, list[Row]]) -> str:
    """A line per model: mean ± standard deviation of the accuracy, and in how many seeds it beats the best sensor."""
    cells: dict[str, dict[str, str]] = {}
    for task, own in rows.items():
        accuracy = accuracies(own)
        best = accuracy[best_single(accuracy)]
        for name, values in accuracy.items():
            gain = [a - b for a, b in zip(values, best, strict=True)]
            against = "" if values is best else f" ({mean(gain):+.2f}; {sum(x > 0 for x in gain)} of {len(gain)})"
            spread = f" ± {stdev(values):.2f}" if len(values) > 1 else ""
            cells.setdefault(name, {})[task] = f"{mean(values):.2f}{spread}{against}"
        for name in REFUSED.get(task, ()):
            cells.setdefault(name, {})[task] = "refused"
    names = sorted(cells, key=lambda name: (name.startswith("unimodal_"), name))
    lines = ["| model | " + " | ".join(rows) + " |", "|---|" + "---|" * len(rows)]
    return "\n".join(lines + [f"| `{n}` | " + " | ".join(cells[n].get(t, "") for t in rows) + " |" for n in names])


def draw(rows: dict[str, list[Row]]) -> Figure:
    """A panel per data set: a dot per run, the models in the order of their means, the best single sensor as a line."""
    figure = Figure(figsize=(5 * len(rows), 5.6), dpi=110, layout="constrained")
    truth = json.loads(Path("data/planted_compare/truth.json").read_text())["accuracy"]
    bound = 100 * truth["+".join(SIGNALS)]["value"]
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
