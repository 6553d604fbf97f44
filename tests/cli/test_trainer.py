"""What the trainer of a run has, and what is said of one that cannot be."""

import re
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import ProgressBar, RichProgressBar, TQDMProgressBar

from fusionlit import build_run
from fusionlit.cli.fusion_cli import FusionCLI
from fusionlit.cli.trainer import REFRESH_RATE
from fusionlit.main import main

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "configs/model/centralnet.yaml"
DATA = ROOT / "configs/data/replicator_shape.yaml"


@pytest.mark.parametrize("precision", ["64-true", "bf16-true"])
def test_true_precisions_follow_through_the_conversion(fusionlit, shapes, tmp_path, precision, fit_args):
    fusionlit("fit", *fit_args(shapes, tmp_path), f"--trainer.precision={precision}", "--trainer.fast_dev_run=1")


def test_a_run_ends_without_being_told_how_long(shapes):
    assert build_run(DATA, MODEL, overrides={"data.root": shapes}).trainer.max_epochs == 40


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--trainer.accelerator=gpu", "No supported gpu backend found!"),
        ("--trainer.accelerator=abacus", "abacus"),
        ("--trainer.strategy=chess", "chess"),
        ("--trainer.profiler=sherlock", "`profiler`"),
        ("--trainer.limit_train_batches=1.5", "limit_train_batches"),
    ],
)
def test_a_trainer_that_cannot_be_is_one_line(planted_signals, monkeypatch, option, said):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    data = [f"--data={ROOT}/configs/data/planted_signals.yaml", f"--data.path={planted_signals}"]
    with pytest.raises(SystemExit) as stop:
        main(["fit", *data, "--model=EarlyFusion", "--trainer.accelerator=cpu", option])
    assert re.match(
        rf"fusionlit: ConfigError: The trainer cannot be built from its options .*: .*{said}", stop.value.code
    )


def test_the_progress_bar_shows_the_loss_and_the_metric(planted_signals, tmp_path):
    data = [f"--data={ROOT}/configs/data/planted_signals.yaml", f"--data.path={planted_signals}"]
    options = ["--trainer.fast_dev_run=1", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]
    run = FusionCLI(run=False, args=[*data, "--model=CentralNet", *options])
    run.trainer.fit(run.model, run.datamodule)
    assert set(run.trainer.progress_bar_metrics) == {"train/loss", "train/accuracy", "val/loss", "val/accuracy"}


@pytest.mark.parametrize(
    ("asked", "bar"),
    [
        ([], (TQDMProgressBar, REFRESH_RATE)),
        (["--trainer.callbacks=RichProgressBar"], (RichProgressBar, 100)),
        (["--trainer.callbacks+=TQDMProgressBar", "--trainer.callbacks.refresh_rate=3"], (TQDMProgressBar, 3)),
        (["--trainer.enable_progress_bar=false"], None),
    ],
)
def test_the_progress_bar_costs_little_unless_another_is_asked_for(shapes, asked, bar):
    args = [f"--data={DATA}", f"--data.root={shapes}", f"--model={MODEL}", *asked]
    trainer = FusionCLI(run=False, args=args).trainer
    bars = [callback for callback in trainer.callbacks if isinstance(callback, ProgressBar)]
    assert [(type(each), each.refresh_rate) for each in bars] == ([bar] if bar else [])
