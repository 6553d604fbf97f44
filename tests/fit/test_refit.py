"""`fusionlit fit --refit true`: training anew on training and validation, for as long as validation has chosen."""

import csv
import re
from pathlib import Path

import pytest
import torch

from fusionlit.cli.fusion_cli import FusionCLI
from fusionlit.data import ReplicatorDataModule
from fusionlit.main import main

ROOT = Path(__file__).parents[2]
CSV = "lightning.pytorch.loggers.CSVLogger"
SMALL = [
    f"--data={ROOT}/configs/data/replicator_shape.yaml",
    f"--model={ROOT}/configs/model/centralnet.yaml",
    "--model.encoder.init_args.widths=[4]",
    "--data.batch_size=8",
]
FOLLOWERS = [
    "--trainer.callbacks+=EarlyStopping",
    "--trainer.callbacks.monitor=train/loss",
    "--trainer.callbacks.patience=9",
    "--trainer.callbacks+=SmoothedMetric",
    "--trainer.callbacks+=TemperatureScaling",
    "--checkpoint.monitor=val/loss_smoothed",
    "--checkpoint.tolerance=0",
]
REFIT_BY_HAND = ["--data.split=RefitSplit", "--data.split.split=FractionSplit", "--data.split.split.seed=1"]


def logger(folder: Path) -> list[str]:
    return [f"--trainer.logger={CSV}", f"--trainer.logger.save_dir={folder}", "--trainer.log_every_n_steps=1"]


def load(path: Path) -> dict:
    return torch.load(path, weights_only=True)


def logged(folder: Path) -> set[str]:
    with (folder / "metrics.csv").open() as file:
        return set(next(csv.reader(file)))


@pytest.mark.filterwarnings("ignore:TemperatureScaling. there is no optimal temperature")
def test_a_refit_is_a_training_on_both_splits_for_the_chosen_epochs(fusionlit, shapes, tmp_path, caplog):
    data = [f"--data.root={shapes}", "--data.split=FractionSplit", "--data.split.seed=1"]
    choice = [
        "--trainer.max_epochs=3",
        "--checkpoint.mode=max",
        "--checkpoint.tolerance=0",
        f"--data.write_split={tmp_path / 'split.json'}",
    ]
    with caplog.at_level("INFO"):
        fusionlit("fit", *SMALL, *data, *logger(tmp_path), *choice, *FOLLOWERS, "--refit=true")
    run = tmp_path / "lightning_logs/version_0"
    folder, last = run / "refit", run / "refit/checkpoints/last.ckpt"
    epochs = load(run / "checkpoints/best.ckpt")["epoch"] + 1
    assert epochs < 3, "the choice is to differ from the whole training"
    assert (
        f"(epochs: {epochs}) is in {last}. Next: fusionlit test --config {folder}/config.yaml --ckpt_path {last}"
        in (caplog.text)
    )
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["last.ckpt"]
    assert "train/loss" in logged(folder)
    assert not [name for name in logged(folder) if name.startswith("val/")]

    by_hand = [f"--trainer.max_epochs={epochs}", "--trainer.callbacks+=TemperatureScaling"]
    fusionlit("fit", *SMALL, f"--data.root={shapes}", *REFIT_BY_HAND, *logger(tmp_path / "by_hand"), *by_hand)
    hand = load(tmp_path / "by_hand/lightning_logs/version_0/checkpoints/last.ckpt")
    refitted = load(last)
    assert (refitted["epoch"], refitted["global_step"]) == (hand["epoch"], hand["global_step"])
    assert refitted["state_dict"].keys() == hand["state_dict"].keys()
    assert all(torch.equal(refitted["state_dict"][key], x) for key, x in hand["state_dict"].items())
    assert "leaves out: TemperatureScaling, SmoothedMetric, BestCheckpoint." in caplog.text

    # What the configuration says is what was done: exactly the groups of both, and the same test split.
    made = FusionCLI(run=False, args=["--config", str(folder / "config.yaml")])
    plain = ReplicatorDataModule(shapes, split=made.datamodule.split.split)
    for each in (made.datamodule, plain):
        each.setup("fit")
    both = torch.cat([plain.dataset("train").rows, plain.dataset("val").rows])
    assert made.datamodule.dataset("train").rows.tolist() == sorted(both.tolist())
    assert made.datamodule.dataset("test").rows.tolist() == plain.dataset("test").rows.tolist()
    assert (made.trainer.max_epochs, made.trainer.limit_val_batches) == (epochs, 0)
    assert not {"EarlyStopping", "SmoothedMetric", "TemperatureScaling"} & {
        type(c).__name__ for c in made.trainer.callbacks
    }

    fusionlit("test", f"--config={folder}/config.yaml", f"--ckpt_path={last}", *logger(tmp_path / "test"))
    assert "test/accuracy" in logged(tmp_path / "test/lightning_logs/version_0")
    with pytest.raises(SystemExit, match=r"validation split, but RefitSplit of FractionSplit also trains on"):
        fusionlit("validate", f"--config={folder}/config.yaml", f"--ckpt_path={last}", *logger(tmp_path / "val"))


def test_without_a_logger_a_refit_lies_beside_the_run_and_is_refused_twice(fusionlit, shapes, tmp_path):
    args = [*SMALL, f"--data.root={shapes}", "--trainer.max_epochs=1", "--trainer.logger=false", "--refit=true"]
    fusionlit("fit", *args)
    assert (tmp_path / "checkpoints/best.ckpt").is_file()
    assert (tmp_path / "refit/checkpoints/last.ckpt").is_file()
    (tmp_path / "config.yaml").unlink()
    with pytest.raises(SystemExit, match=r"Expected a folder without a run, but .*refit contains one"):
        fusionlit("fit", *args)


NO_SPLIT = """
from fusionlit.data import ReplicatorDataModule

class Fixed(ReplicatorDataModule):
    def __init__(self, root: str):
        super().__init__(root)
"""
OWN_SPLIT = """
from fusionlit.data import FractionSplit, GroupSplit, ReplicatorDataModule

class Own(ReplicatorDataModule):
    def __init__(self, root: str, split: GroupSplit | None = None):
        super().__init__(root, split=split or FractionSplit(0.5, 0.25, 0.25))
"""
GBLENDING = "--model.training={unimodal_loss_weight: 1.0, balance: GBlending}"
ONE_CYCLE = "--model.training={scheduler: {class_path: OneCycleLR, init_args: {max_lr: 0.001, total_steps: 24}}}"
COURSE = ["--data.split=LastFramesSplit", "--data.split.count=4", "--data.split.test_on_validation=true"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--refit=true", "--folds=2"], "Expected --refit or --folds, but got both"),
        (["--refit=true", "--trainer.enable_checkpointing=false"], "a run that selects a checkpoint for --refit"),
        (["--folds=2", "--trainer.fast_dev_run=1"], "a run that selects a checkpoint for --folds"),
        (["--refit=true", "--trainer.limit_val_batches=0"], "leave out .*`limit_val_batches: 0`"),
        (
            ["--refit=true", "--model.training.scheduler=torch.optim.lr_scheduler.ReduceLROnPlateau"],
            "but got ReduceLROnPlateau: use WarmupCos",
        ),
        (["--refit=true", ONE_CYCLE], "but got `total_steps`: leave it out"),
        (["--refit=true", GBLENDING], "but got GBlending: use another"),
        (["--refit=true", *COURSE], "RefitSplit trains on the validation groups of LastFramesSplit"),
        (["--folds=2", *COURSE], "InnerFolds trains on the validation groups of LastFramesSplit"),
        (["--folds=1"], "Expected `folds` >= 2"),
        (["--folds=2", "--data.write_split=split.json"], "Expected --folds without `write_split`"),
        (["--folds=2", "--trainer.devices=2", "--trainer.strategy=ddp"], "Expected one process for --folds"),
        (["--refit=true", "--data=fixed_data.Fixed"], "but Fixed has no argument `split: GroupSplit | None`"),
        (["--folds=2", "--data=own_data.Own"], "Own chooses FractionSplit by default: set --data.split"),
    ],
)
@pytest.mark.filterwarnings("ignore:Testing on the validation frames")
def test_what_cannot_be_is_refused_before_any_training(shapes, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    Path("fixed_data.py").write_text(NO_SPLIT)
    Path("own_data.py").write_text(OWN_SPLIT)
    own = [option for option in options if option.startswith("--data=")]
    data = [f"--data.root={shapes}"] if own else [*SMALL[:1], f"--data.root={shapes}", "--data.batch_size=8"]
    with pytest.raises(SystemExit) as stop:
        main(["fit", *own, *data, *SMALL[1:3], *(x for x in options if x not in own), "--trainer.accelerator=cpu"])
    assert re.search(message.replace("GroupSplit | None", r"GroupSplit \| None"), str(stop.value))
    assert not list(tmp_path.rglob("*.ckpt"))
