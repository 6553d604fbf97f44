"""CentralNet, concatenation with multi-task loss, and every single sensor on public data sets; resumable.

    python benchmarks/public_results.py SET [MODEL ...] [--runs N]    trains the missing runs, only of these models
    python benchmarks/public_results.py                               prints the table

SET is uci_har, basicmotions, epilepsy, scene15 or digits, of data/public (benchmarks/public_sets.py). Every run is as
with `fusionlit fit --refit true`, the model's file and default options: the checkpoint is selected by validation
accuracy (its mean over five epochs is `validation` in a row), and the model is refitted on training + validation for as
many epochs. Both are tested once. UCI HAR, BasicMotions and Epilepsy: official split, five seeds. Scene15: ten random
splits of 64/16/20 %. Digits: each of six speakers is the test split once, with another one for validation. `--runs N`
trains the first N runs. Rows go to benchmarks/results/public_*.jsonl.
"""

import os
import shutil
import sys
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path
from statistics import mean
from typing import Any

import torch
import yaml
from scipy.stats import ttest_rel

from fusionlit import build_run
from fusionlit.cli.run import rebuild_run, run_options
from fusionlit.compare import Column, Ledger, Row, origin_of, table, values
from fusionlit.fit import FitCLI

RESULTS = Path("benchmarks/results")
OUT = Path("runs/public")
VARIED = {"time_shift": 0.1, "jitter": 0.05, "scale": 0.1}
TURNED = VARIED | {"rotation": 20}
SETS: dict[str, dict[str, Any]] = {
    "uci_har": {"sensors": ["body_acc", "body_gyro", "total_acc"], "models": "signals/", "runs": 5, "batch": 64},
    "basicmotions": {"sensors": ["acc", "gyro"], "models": "signals/", "runs": 5, "batch": 16},
    "epilepsy": {"sensors": ["acc_x", "acc_y", "acc_z"], "models": "signals/", "runs": 5, "batch": 16},
    "scene15": {"sensors": ["view1", "view2", "view3"], "models": "vectors/", "runs": 10, "batch": 64},
    "digits": {"sensors": ["audio", "image"], "models": "", "runs": 6, "batch": 64},
}
TRAINER = {"enable_progress_bar": False, "enable_model_summary": False}
FUSED = ("centralnet", "intermediate_concat_multitask")


def main() -> None:
    """Train, or print the table."""
    os.chdir(Path(__file__).parents[1])
    if len(sys.argv) == 1:
        print("\n\n".join(summary(name) for name in SETS if ledger(name).rows()))
        return
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("set", choices=SETS)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--runs", type=int)
    asked = parser.parse_args()
    name = asked.set
    torch.set_num_threads(1)
    for run in range(asked.runs or SETS[name]["runs"]):
        for model in asked.models or [*FUSED, *SETS[name]["sensors"]]:
            origin = origin_of(build_run(data(name, run), model_of(name, model), TRAINER, run))
            if ledger(name).find(model, run, origin) is None:
                began = time.perf_counter()
                metrics = measure(name, model, run)
                row = Row(model, run, metrics, round(time.perf_counter() - began, 1), origin)
                ledger(name).append(row)
                print(name, row.model, row.seed, row.metrics, flush=True)


def measure(name: str, model: str, run: int) -> dict[str, float]:
    """Train with a refit, and test both checkpoints."""
    folder = OUT / name / f"{model}{run}"
    shutil.rmtree(folder, ignore_errors=True)  # a run without a row was cut off
    logger = {"class_path": "TensorBoardLogger", "init_args": {"save_dir": str(folder), "name": "", "version": "fit"}}
    more = {"trainer.logger": logger, "refit": True}
    first = FitCLI(args=["fit", *run_options(data(name, run), model_of(name, model), TRAINER, run, more)])
    best = first.trainer.checkpoint_callback.best_model_path
    epochs = torch.load(best, weights_only=True)["epoch"] + 1
    score = first.trainer.checkpoint_callback.best_model_score
    chosen = first.trainer.test(first.model, first.datamodule, ckpt_path=best, verbose=False)[0]
    again = rebuild_run(yaml.safe_load((folder / "fit/refit/config.yaml").read_text()))
    last = next((folder / "fit/refit").rglob("last.ckpt"))
    refitted = again.trainer.test(again.model, again.datamodule, ckpt_path=last, verbose=False)[0]
    return {
        "epochs": epochs,
        "validation": round(100 * float(score), 2),
        "chosen": round(100 * chosen["test/accuracy"], 2),
        "refit": round(100 * refitted["test/accuracy"], 2),
    }


def data(name: str, run: int) -> dict[str, Any]:
    """Configuration of the data module."""
    arguments: dict[str, Any] = {"path": f"data/public/{name}.npz", "batch_size": SETS[name]["batch"]}
    if name == "scene15":
        fractions = {"train": 0.64, "val": 0.16, "test": 0.2, "seed": run}
        arguments["split"] = {"class_path": "fusionlit.data.FractionSplit", "init_args": fractions}
    if name == "digits":
        fold = {"folds": 6, "fold": run, "seed": 0}
        arguments["split"] = {"class_path": "fusionlit.data.FoldSplit", "init_args": fold}
    if SETS[name]["models"] == "signals/":
        varied = TURNED if name == "uci_har" else VARIED  # as in configs/data/uci_har.yaml
        arguments["augmentation"] = {"class_path": "SignalAugmentation", "init_args": varied}
    return {"class_path": "fusionlit.data.ArrayDataModule", "init_args": arguments}


def model_of(name: str, model: str) -> dict[str, Any]:
    """Configuration of a shipped model, or of one sensor with the same encoder and head."""
    folder = Path("configs/model") / SETS[name]["models"]
    if model in FUSED:
        return yaml.safe_load((folder / f"{model}.yaml").read_text())
    config = yaml.safe_load((folder / "intermediate_concat_multitask.yaml").read_text())
    arguments = {key: config["init_args"][key] for key in ("encoder", "head", "training")}
    arguments["training"].pop("unimodal_loss_weight")
    return {"class_path": "Unimodal", "init_args": {"modality": model, **arguments}}


def ledger(name: str) -> Ledger:
    """Ledger of a data set; the seed of a row is the number of its run."""
    return Ledger(RESULTS / f"public_{name}.jsonl")


def summary(name: str) -> str:
    """Mean and standard deviation of both accuracies (%), and CentralNet compared with the others, paired by run."""
    rows = ledger(name).rows()
    of = {model: {row.seed: row for row in rows if row.model == model} for model in [*FUSED, *SETS[name]["sensors"]]}
    measured = {model: by_run for model, by_run in of.items() if len(by_run) > 1}
    known = [row for by_run in measured.values() for row in by_run.values()]
    columns = {
        "runs": Column({model: str(len(by_run)) for model, by_run in measured.items()}),
        "chosen": Column(values(known, "chosen"), 2),
        "refit": Column(values(known, "refit"), 2),
        "CentralNet - it, refit": Column(
            {model: difference(of["centralnet"], by_run) for model, by_run in measured.items() if model != "centralnet"}
        ),
    }
    return table(columns, name).markdown()


def difference(ours: dict[int, Row], others: dict[int, Row]) -> str:
    """Mean difference after the refit, over the common runs, and the p-value of the paired t-test."""
    pairs = [(ours[run].metrics["refit"], others[run].metrics["refit"]) for run in sorted(ours.keys() & others.keys())]
    if not pairs:
        return ""
    differences = [a - b for a, b in pairs]
    p = f" (p = {ttest_rel(*zip(*pairs, strict=True)).pvalue:.2g})" if len(set(differences)) > 1 else ""
    return f"{mean(differences):+.2f}{p}"


if __name__ == "__main__":
    main()
