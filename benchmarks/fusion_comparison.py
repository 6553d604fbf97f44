"""Every shipped model compared with every single sensor, on rendered frames and on planted signals; resumable.

    python benchmarks/fusion_comparison.py                  trains the missing runs, prints the table, draws the figure
    python benchmarks/fusion_comparison.py SET [SEEDS]      only trains, on one of frames40, frames200 and signals

Several sets may be trained at once, each in its own process. Every run is as with `fusionlit fit`: the best checkpoint
is tested once. Rows go to benchmarks/results/fusion_comparison_*.jsonl, runs to runs/fusion_comparison, the figure to
docs/images.
"""

import json
import os
import sys
from pathlib import Path
from statistics import mean

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fusionlit.compare import Candidate, Column, Ledger, Row, spread, table, train_all, values
from fusionlit.synthetic import render

OUT = Path("runs/fusion_comparison")
RESULTS = Path("benchmarks/results")
SHIPPED = Path("configs/model")
SEEDS = {"frames40": 5, "frames200": 5, "signals": 2}
FRAMES, SIGNALS = ["rgb", "lidar"], ["strong", "weak", "redundant", "noise"]
SENSORS = {"frames40": FRAMES, "frames200": FRAMES, "signals": SIGNALS}
FEWER = {"frames200": {"data.split.train": 0.1, "data.split.test": 0.86}}
"""Other split fractions for the shipped data file, for 200 training frames."""
REFUSED = {"signals": ("intermediate_bilinear", "intermediate_matmul", "intermediate_tensor")}
"""Models left out: too many weights for four sensors, or square maps required."""


def main() -> None:
    """Train, print the table, and draw the figure."""
    os.chdir(Path(__file__).parents[1])
    chosen, *seeds = sys.argv[1:] or [None]
    if chosen not in (None, *SEEDS):
        sys.exit(__doc__)
    for name in [chosen] if chosen else SEEDS:
        train(name, int(seeds[0]) if seeds else SEEDS[name])
    if not chosen:
        rows = {name: Ledger(results(name)).rows() for name in SEEDS}
        print(summary(rows))
        draw(rows).savefig("docs/images/fusion_comparison.png")


def train(name: str, seeds: int) -> None:
    """Train every model on one data set, which is rendered if it does not exist."""
    frames, signals = Path("data/replicator_compare"), Path("data/planted_compare")
    if name == "signals" and not signals.exists():
        render(signals, frames=4000, task="signals")
    if name != "signals" and not frames.exists():
        render(frames, frames=1000)
    data = Path("configs/data") / ("planted_compare.yaml" if name == "signals" else "replicator_compare.yaml")
    train_all(data, models(name), range(seeds), None, OUT / name, results(name), FEWER.get(name))


def results(name: str) -> Path:
    """Ledger of a data set."""
    return RESULTS / f"fusion_comparison_{name}.jsonl"


def models(name: str) -> dict[str, Candidate]:
    """Each sensor alone, and the shipped fusion models."""
    alone = SHIPPED / "unimodal_rgb.yaml"
    single = {f"unimodal_{sensor}": Candidate(alone, {"model.modality": sensor}) for sensor in SENSORS[name]}
    shipped = [file for file in sorted(SHIPPED.glob("*.yaml")) if not file.stem.startswith("unimodal_")]
    return single | {file.stem: Candidate(file) for file in shipped if file.stem not in REFUSED.get(name, ())}


def accuracies(rows: list[Row]) -> dict[str, list[float]]:
    """Accuracies (%) of each model, in the order of the seeds; only seeds with a row for every model."""
    seeds = [{row.seed for row in rows if row.model == model} for model in {row.model for row in rows}]
    whole = set.intersection(*seeds)
    return values(sorted((row for row in rows if row.seed in whole), key=lambda row: row.model), "test/accuracy", 100)


def best_single(accuracy: dict[str, list[float]]) -> str:
    """The single sensor with the highest mean test accuracy."""
    return max((name for name in accuracy if name.startswith("unimodal_")), key=lambda name: mean(accuracy[name]))


def summary(rows: dict[str, list[Row]]) -> str:
    """One line per model: mean ± standard deviation of the accuracy, and seeds in which it beats the best sensor."""
    columns = {}
    for task, own in rows.items():
        accuracy = accuracies(own)
        best = accuracy[best_single(accuracy)]
        cells = dict.fromkeys(REFUSED.get(task, ()), "refused")
        for name, reached in accuracy.items():
            gain = [a - b for a, b in zip(reached, best, strict=True)]
            against = "" if reached is best else f" ({mean(gain):+.2f}; {sum(x > 0 for x in gain)} of {len(gain)})"
            cells[name] = f"{spread(reached, 2)}{against}"
        columns[task] = cells
    names = sorted({name for cells in columns.values() for name in cells})
    names.sort(key=lambda name: name.startswith("unimodal_"))
    cells = {task: Column({f"`{name}`": text for name, text in each.items()}) for task, each in columns.items()}
    return table(cells, order=[f"`{name}`" for name in names]).markdown()


def draw(rows: dict[str, list[Row]]) -> Figure:
    """One panel per data set: a dot per run, models sorted by mean, and the best single sensor as a line."""
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
    """Draw one data set, with only the best of the single sensors."""
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
