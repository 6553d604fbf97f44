"""How long to train, and which weights to keep? Each training is evaluated on validation and on an outer fold.

    python benchmarks/recipe.py SET MODEL [KEY=VALUE ...]

SET is a file of data/public (benchmarks/public_sets.py), without its official test samples, of which `FoldSplit` takes
the outer fold from the others; or a data file, whose test split is the outer fold. KEY is an option, such as
`trainer.max_epochs`, or `variant`, `folds` and `seed`. Twenty times per training, accuracy and loss on both parts are
measured, for the weights and for their moving average; a row contains the accuracy on the outer fold for each selection
rule. Rows go to benchmarks/results/recipe.jsonl.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from fusionlit import build_run
from fusionlit.console import quiet_lightning

RESULTS = Path("benchmarks/results/recipe.jsonl")
CHECKS = 20
DECAY = 0.99


class Watch(Callback):
    """Measures loss and accuracy of the weights and of their average, `CHECKS` times per training."""

    def __init__(self) -> None:
        self.seen: list[dict[str, tuple[float, float]]] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the average."""
        pl_module._trainer, kept = None, pl_module._trainer
        self.average = AveragedModel(pl_module, multi_avg_fn=get_ema_multi_avg_fn(DECAY), use_buffers=True)
        pl_module._trainer = kept
        self.every = max(1, int(trainer.estimated_stepping_batches) // CHECKS)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:  # noqa: ANN401 (Lightning's own types)
        """Update the average, and measure."""
        self.average.update_parameters(pl_module)
        if trainer.global_step % self.every == 0:
            looked = {}
            for part in ("val", "test"):
                looked[part] = look(trainer, pl_module, part)
                looked[f"{part}_average"] = look(trainer, self.average.module, part)
            self.seen.append(looked)
            pl_module.train()


@torch.no_grad()
def look(trainer: Trainer, model: LightningModule, part: str) -> tuple[float, float]:
    """Loss and accuracy."""
    data = trainer.datamodule
    model.eval()
    logits, targets = [], []
    for raw in getattr(data, f"{part}_dataloader")():
        batch = data.convert(raw)
        logits.append(model(batch["inputs"], batch.get("presence")).prediction)
        targets.append(batch["target"])
    p, y = torch.cat(logits), torch.cat(targets)
    return float(F.cross_entropy(p, y)), 100 * float((p.argmax(1) == y).float().mean())


def choices(seen: list[dict[str, tuple[float, float]]]) -> dict[str, float]:
    """Accuracy on the outer fold for each selection rule."""
    found = {}
    for kind in ("", "_average"):
        loss = np.array([s[f"val{kind}"][0] for s in seen])
        accuracy = np.array([s[f"val{kind}"][1] for s in seen])
        outer = [s[f"test{kind}"][1] for s in seen]
        smooth = np.convolve(np.pad(loss, (2, 0), mode="edge"), np.ones(3) / 3, "valid")
        steady = np.array([accuracy[max(0, i - 4) : i + 1].mean() for i in range(len(accuracy))])
        best = np.maximum.accumulate(steady)
        found |= {
            f"last{kind}": outer[-1],
            f"least_loss{kind}": outer[int(loss.argmin())],
            f"least_smoothed{kind}": outer[int(smooth.argmin())],
            f"best_smoothed_accuracy{kind}": outer[len(seen) - 1 - int(steady[::-1].argmax())],
            f"within_1{kind}": outer[np.flatnonzero(steady >= 0.99 * best)[-1]],
            f"within_2{kind}": outer[np.flatnonzero(steady >= 0.98 * best)[-1]],
            f"best_accuracy{kind}": outer[len(seen) - 1 - int(accuracy[::-1].argmax())],
        }
    return found


def main() -> None:
    """Train on the requested folds."""
    os.chdir(Path(__file__).parents[1])
    name, model, *rest = sys.argv[1:]
    options = dict(item.split("=", 1) for item in rest)
    variant, folds, seed = options.pop("variant", ""), options.pop("folds", "0"), int(options.pop("seed", "0"))
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        for fold in map(int, folds.split(",")):
            began = time.perf_counter()
            off = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
            trainer = {"default_root_dir": f"{scratch}/run{fold}", **dict.fromkeys(off, False)}
            trainer |= {"limit_val_batches": 0, "num_sanity_val_steps": 0}
            with quiet_lightning():
                run = build_run(data_source(name, fold, Path(scratch)), Path(model), trainer, seed, options)
            watch = Watch()
            run.trainer.callbacks = [c for c in run.trainer.callbacks if "Fusion" not in type(c).__name__] + [watch]
            run.trainer.fit(run.model, run.datamodule)
            row = {"set": name, "model": model, "variant": variant, "options": options, "fold": fold, "seed": seed}
            row |= {key: round(value, 2) for key, value in choices(watch.seen).items()}
            row["val_last"] = round(watch.seen[-1]["val"][1], 2)
            row["seconds"] = round(time.perf_counter() - began, 1)
            print(json.dumps(row), flush=True)
            with RESULTS.open("a") as lines:
                lines.write(json.dumps(row) + "\n")


def data_source(name: str, fold: int, scratch: Path) -> Path | dict[str, Any]:
    """The training part of a public data set, or a data file, with the outer fold as test split."""
    split = {"class_path": "fusionlit.data.FoldSplit", "init_args": {"folds": 5, "fold": fold, "seed": 0}}
    if name.endswith(".yaml"):
        return Path(name)
    saved = dict(np.load(f"data/public/{name}.npz"))
    official = saved.pop("split", None)
    kept = slice(None) if official is None else official == "train"
    path = scratch / f"{name}.npz"
    np.savez(path, **{key: value[kept] for key, value in saved.items()})
    arguments = {"path": str(path), "batch_size": 64, "split": split}
    return {"class_path": "fusionlit.data.ArrayDataModule", "init_args": arguments}


if __name__ == "__main__":
    main()
