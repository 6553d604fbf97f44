"""CentralNet, concatenation with multi-task loss and every single sensor on public sets, tested once; resumable.

    python benchmarks/public_results.py SET [MODEL ...] [--runs N]    trains what has no row yet, of these models alone
    python benchmarks/public_results.py                               prints the table

SET is uci_har, basicmotions, epilepsy, scene15 or digits, of data/public (benchmarks/public_sets.py). Every run is that
of `fusionlit fit --refit true` with the model's file and otherwise the defaults: the checkpoint is chosen by the
validation accuracy (its mean over five epochs is `validation` in a row), and the network trained anew on training +
validation for as many epochs. Both are tested once. UCI HAR, BasicMotions and Epilepsy: the official split, five seeds.
Scene15: ten random splits of 64/16/20 %. Digits: each of six speakers tests once, another one validates. The first N
runs are those that `--runs` asks for. Rows go to benchmarks/results/public_*.jsonl.
"""

import json
import os
import shutil
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
import yaml
from scipy.stats import ttest_rel

from fusionlit.build import FusionCLI
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
FUSED = ("centralnet", "intermediate_concat_multitask")


def main() -> None:
    """Train, or print."""
    os.chdir(Path(__file__).parents[1])
    if len(sys.argv) == 1:
        print(table())
        return
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("set", choices=SETS)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--runs", type=int)
    asked = parser.parse_args()
    name = asked.set
    torch.set_num_threads(1)
    file = RESULTS / f"public_{name}.jsonl"
    for run in range(asked.runs or SETS[name]["runs"]):
        for model in asked.models or [*FUSED, *SETS[name]["sensors"]]:
            if not any((row["model"], row["run"]) == (model, run) for row in rows(name)):
                row = measure(name, model, run)
                with file.open("a") as lines:
                    lines.write(json.dumps(row) + "\n")
                print(json.dumps(row), flush=True)


def measure(name: str, model: str, run: int) -> dict[str, Any]:
    """Train with a refit, and test both checkpoints."""
    folder = OUT / name / f"{model}{run}"
    shutil.rmtree(folder, ignore_errors=True)  # a run without a row was cut off
    folder.mkdir(parents=True)
    for part, content in (("data", data(name, run)), ("model", model_of(name, model))):
        (folder / f"{part}.yaml").write_text(yaml.safe_dump(content))
    logger = {"class_path": "TensorBoardLogger", "init_args": {"save_dir": str(folder), "name": "", "version": "fit"}}
    quiet = ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
    options = [f"--data={folder}/data.yaml", f"--model={folder}/model.yaml", f"--seed_everything={run}"]
    first = FitCLI(args=["fit", *options, f"--trainer.logger={json.dumps(logger)}", "--refit=true", *quiet])
    best = first.trainer.checkpoint_callback.best_model_path
    epochs = torch.load(best, weights_only=True)["epoch"] + 1
    score = first.trainer.checkpoint_callback.best_model_score
    chosen = first.trainer.test(first.model, first.datamodule, ckpt_path=best, verbose=False)[0]
    again = FusionCLI(run=False, args=yaml.safe_load((folder / "fit/refit/config.yaml").read_text()))
    last = next((folder / "fit/refit").rglob("last.ckpt"))
    refitted = again.trainer.test(again.model, again.datamodule, ckpt_path=last, verbose=False)[0]
    return {
        "set": name,
        "model": model,
        "run": run,
        "epochs": epochs,
        "validation": round(100 * float(score), 2),
        "chosen": round(100 * chosen["test/accuracy"], 2),
        "refit": round(100 * refitted["test/accuracy"], 2),
    }


def data(name: str, run: int) -> dict[str, Any]:
    """The data module's configuration."""
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
    """A shipped model's configuration, or that of one sensor with the same encoder and head."""
    folder = Path("configs/model") / SETS[name]["models"]
    if model in FUSED:
        return yaml.safe_load((folder / f"{model}.yaml").read_text())
    config = yaml.safe_load((folder / "intermediate_concat_multitask.yaml").read_text())
    arguments = {key: config["init_args"][key] for key in ("encoder", "head", "training")}
    arguments["training"].pop("unimodal_loss_weight")
    return {"class_path": "Unimodal", "init_args": {"modality": model, **arguments}}


def rows(name: str) -> list[dict[str, Any]]:
    """What has been measured."""
    file = RESULTS / f"public_{name}.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def table() -> str:
    """Mean and deviation of the accuracy (%) of both networks, and CentralNet against the others, paired by run."""
    lines = ["| set | model | runs | chosen | refit | CentralNet - it, refit |", "|---|---|---:|---:|---:|---:|"]
    for name in SETS:
        of = {
            model: {r["run"]: r for r in rows(name) if r["model"] == model}
            for model in [*FUSED, *SETS[name]["sensors"]]
        }
        for model, by_run in of.items():
            if len(by_run) < 2:
                continue
            cells = []
            for key in ("chosen", "refit"):
                values = [row[key] for row in by_run.values()]
                cells.append(f"{mean(values):.2f} ± {stdev(values):.2f}")
            both = sorted(by_run.keys() & of["centralnet"].keys())
            pairs = [(of["centralnet"][run]["refit"], by_run[run]["refit"]) for run in both]
            differences = [a - b for a, b in pairs]
            p = f" (p = {ttest_rel(*zip(*pairs, strict=True)).pvalue:.2g})" if len(set(differences)) > 1 else ""
            cells.append("" if model == "centralnet" else f"{mean(differences):+.2f}{p}")
            lines.append(f"| {name} | `{model}` | {len(by_run)} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
