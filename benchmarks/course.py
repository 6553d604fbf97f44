"""The course's two tasks on rendered frames: the notebooks' nets and the shipped models; resumable.

    python benchmarks/course.py position [SEEDS]    where three cubes are, 680 training and 320 validation frames
    python benchmarks/course.py shape [SEEDS]       cube or sphere, 4,800 training and 1,200 validation frames
    python benchmarks/course.py                     prints the tables

As in the notebooks the last frames validate, and a row holds the least mean squared error, or the best accuracy, of all
epochs on them: there is no test split, so what is best of many is best by chance, too. The notebooks' nets
(configs/model/recipes) train as there, 20 epochs, but for shapes 6, for time; the others as `fusionlit fit` does. Rows
go to benchmarks/results/course_*.jsonl, runs to runs/course.
"""

import json
import os
import shutil
import sys
import time
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from variants import changed

from fusionlit.build import FusionCLI
from fusionlit.synthetic import render

OUT = Path("runs/course")
RESULTS = Path("benchmarks/results")
MODELS = Path("configs/model")
METRIC = {"position": "val/loss", "shape": "val/accuracy"}
NETS = {"position": ("concat", "add", "hadamard", "early", "late"), "shape": ("late", "concat", "add", "hadamard")}
OURS = ("centralnet", "intermediate_concat", "intermediate_concat_multitask", "unimodal_rgb", "unimodal_lidar")
FRAMES = {"position": (1000, 320), "shape": (3000, 600)}
"""Frames to render, of each class, and the last of them, which validate."""
EPOCHS = {"position": 20, "shape": 6}


class Best(Callback):
    """The metric after every epoch."""

    def __init__(self, metric: str) -> None:
        self.metric = metric
        self.values: list[float] = []

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take it."""
        self.values.append(float(trainer.callback_metrics[self.metric]))


def main() -> None:
    """Train what has no row, or print."""
    os.chdir(Path(__file__).parents[1])
    task, *seeds = sys.argv[1:] or [None]
    if task not in (None, *METRIC):
        sys.exit(__doc__)
    if task is None:
        print("\n\n".join(table(name) for name in METRIC if rows(name)))
        return
    torch.set_num_threads(1)
    root = Path(f"data/course_{task}")
    if not root.exists():
        render(root, frames=FRAMES[task][0], task=task)
    for seed in range(int(seeds[0]) if seeds else 3):
        for model in [*(MODELS / f"recipes/{task}_{net}.yaml" for net in NETS[task]), *ours(task)]:
            if not any((row["model"], row["seed"]) == (model.stem, seed) for row in rows(task)):
                row = measure(task, root, model, seed)
                with results(task).open("a") as lines:
                    lines.write(json.dumps(row) + "\n")
                print(json.dumps(row), flush=True)


def ours(task: str) -> list[Path]:
    """The shipped models that are measured."""
    return [MODELS / f"{name}.yaml" for name in OURS] if task == "position" else []


def measure(task: str, root: Path, model: Path, seed: int) -> dict[str, Any]:
    """Train once."""
    began = time.perf_counter()
    split = {"class_path": "fusionlit.data.LastFramesSplit", "init_args": {"count": FRAMES[task][1]}}
    plain = {"root": str(root), "split": split} | ({"augmentation": None} if model.parent.name == "recipes" else {})
    data = changed(Path(f"configs/data/replicator_{task}.yaml"), OUT / "files", f"{task}_{model.parent.name}", plain)
    options = [
        "--trainer.logger=false",
        "--trainer.enable_checkpointing=false",
        f"--trainer.default_root_dir={OUT}/tmp",
    ]
    options += ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
    if model.parent.name == "recipes":
        options += [f"--trainer.max_epochs={EPOCHS[task]}"]
    cli = FusionCLI(run=False, args=[f"--data={data}", f"--model={model}", f"--seed_everything={seed}", *options])
    best = Best(METRIC[task])
    cli.trainer.callbacks.append(best)
    cli.trainer.fit(cli.model, cli.datamodule)
    shutil.rmtree(OUT / "tmp", ignore_errors=True)
    chosen = min(best.values[1:]) if task == "position" else max(best.values[1:])  # the first is the check before
    return {
        "model": model.stem,
        "seed": seed,
        "epochs": cli.trainer.current_epoch,
        "best": chosen,
        "last": best.values[-1],
        "seconds": round(time.perf_counter() - began, 1),
    }


def results(task: str) -> Path:
    """Where the rows are kept."""
    return RESULTS / f"course_{task}.jsonl"


def rows(task: str) -> list[dict[str, Any]]:
    """What has been measured."""
    return [json.loads(line) for line in results(task).read_text().splitlines()] if results(task).exists() else []


def table(task: str) -> str:
    """A line per model: mean and deviation of the best and of the last epoch."""
    factor = 1 if task == "position" else 100
    lines = [f"| {task} | epochs | seeds | best epoch | last epoch |", "|---|---:|---:|---:|---:|"]
    for model in dict.fromkeys(row["model"] for row in rows(task)):
        own = [row for row in rows(task) if row["model"] == model]
        cells = []
        for key in ("best", "last"):
            values = [factor * row[key] for row in own]
            cells.append(f"{mean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else ""))
        lines.append(f"| `{model}` | {own[0]['epochs']} | {len(own)} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
