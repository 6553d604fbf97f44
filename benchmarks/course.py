"""The course's two tasks on rendered frames: the notebooks' networks and the shipped models; resumable.

    python benchmarks/course.py position [SEEDS]    where three cubes are, 680 training and 320 validation frames
    python benchmarks/course.py shape [SEEDS]       cube or sphere, 4,800 training and 1,200 validation frames
    python benchmarks/course.py                     prints the tables

As in the notebooks, the last frames are for validation, and a row contains the lowest mean squared error, or the
highest accuracy, over all epochs on them: there is no test split, so the best of many epochs is
optimistic. The notebooks' networks (configs/model/recipes) train as in the notebooks, 20 epochs (6 for shapes, to save
time); the other models as with `fusionlit fit`. Rows go to benchmarks/results/course_*.jsonl, runs to runs/course.
"""

import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from fusionlit import Run, build_run
from fusionlit.compare import Column, Ledger, Row, origin_of, table, values
from fusionlit.synthetic import render

OUT = Path("runs/course")
RESULTS = Path("benchmarks/results")
MODELS = Path("configs/model")
METRIC = {"position": "val/loss", "shape": "val/accuracy"}
NETS = {"position": ("concat", "add", "hadamard", "early", "late"), "shape": ("late", "concat", "add", "hadamard")}
OURS = ("centralnet", "intermediate_concat", "intermediate_concat_multitask", "unimodal_rgb", "unimodal_lidar")
FRAMES = {"position": (1000, 320), "shape": (3000, 600)}
"""Number of frames to render per class, and number of validation frames (the last ones)."""
EPOCHS = {"position": 20, "shape": 6}


class Best(Callback):
    """The metric after every epoch."""

    def __init__(self, metric: str) -> None:
        self.metric = metric
        self.values: list[float] = []

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the metric."""
        self.values.append(float(trainer.callback_metrics[self.metric]))


def main() -> None:
    """Train the missing runs, or print the tables."""
    os.chdir(Path(__file__).parents[1])
    task, *seeds = sys.argv[1:] or [None]
    if task not in (None, *METRIC):
        sys.exit(__doc__)
    if task is None:
        print("\n\n".join(summary(name) for name in METRIC if ledger(name).rows()))
        return
    torch.set_num_threads(1)
    root = Path(f"data/course_{task}")
    if not root.exists():
        render(root, frames=FRAMES[task][0], task=task)
    for seed in range(int(seeds[0]) if seeds else 3):
        for model in [*(MODELS / f"recipes/{task}_{net}.yaml" for net in NETS[task]), *ours(task)]:
            run = make_run(task, root, model, seed)
            origin = origin_of(run)
            if ledger(task).find(model.stem, seed, origin) is None:
                began = time.perf_counter()
                metrics = measure(task, run)
                row = Row(model.stem, seed, metrics, round(time.perf_counter() - began, 1), origin)
                ledger(task).append(row)
                print(row.model, row.seed, row.metrics, flush=True)


def ours(task: str) -> list[Path]:
    """The shipped models to measure."""
    return [MODELS / f"{name}.yaml" for name in OURS] if task == "position" else []


def make_run(task: str, root: Path, model: Path, seed: int) -> Run:
    """Build a run; a recipe trains as long as in the notebooks, without augmentation."""
    split = {"class_path": "fusionlit.data.LastFramesSplit", "init_args": {"count": FRAMES[task][1]}}
    options: dict[str, Any] = {"data.root": root, "data.split": split}
    if model.parent.name == "recipes":
        options |= {"data.augmentation": None, "trainer.max_epochs": EPOCHS[task]}
    off = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    trainer = {"default_root_dir": str(OUT / "tmp"), **dict.fromkeys(off, False)}
    return build_run(Path(f"configs/data/replicator_{task}.yaml"), model, trainer, seed, options)


def measure(task: str, run: Run) -> dict[str, float]:
    """Train once; returns the metric of the best and of the last epoch."""
    best = Best(METRIC[task])
    run.trainer.callbacks.append(best)
    run.trainer.fit(run.model, run.datamodule)
    shutil.rmtree(OUT / "tmp", ignore_errors=True)
    chosen = min(best.values[1:]) if task == "position" else max(best.values[1:])  # the first is the check before
    return {"epochs": run.trainer.current_epoch, "best": chosen, "last": best.values[-1]}


def ledger(task: str) -> Ledger:
    """Ledger of the rows."""
    return Ledger(RESULTS / f"course_{task}.jsonl")


def summary(task: str) -> str:
    """One line per model: mean and standard deviation of the best and of the last epoch."""
    rows, factor = ledger(task).rows(), 1 if task == "position" else 100
    columns = {
        "epochs": Column({model: f"{x[0]:g}" for model, x in values(rows, "epochs").items()}),
        "seeds": Column({model: str(len(x)) for model, x in values(rows, "last").items()}),
        "best epoch": Column(values(rows, "best", factor), 3),
        "last epoch": Column(values(rows, "last", factor), 3),
    }
    return table(columns, task).markdown()


if __name__ == "__main__":
    main()
