"""The command line, end to end on rendered files."""

import csv
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fusionlit.data import ReplicatorDataModule
from fusionlit.data.render import render
from fusionlit.models import CentralNet

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "configs/model/centralnet.yaml"
DATA = ROOT / "configs/data/replicator_shape.yaml"
SMALL = ["--model.encoder.init_args.widths=[4, 8]", "--trainer.max_epochs=1", "--data.batch_size=8"]
README = (ROOT / "README.md").read_text()
CSV = "lightning.pytorch.loggers.CSVLogger"


def fit_args(root: Path, logs: Path, *more: str) -> list[str]:
    logger = ["--trainer.logger=" + CSV, f"--trainer.logger.save_dir={logs}", "--trainer.log_every_n_steps=1"]
    return [f"--data={DATA}", f"--model={MODEL}", f"--data.root={root}", *SMALL, *logger, *more]


def last_value(folder: Path, column: str) -> float:
    with (folder / "metrics.csv").open() as file:
        return [float(row[column]) for row in csv.DictReader(file) if row.get(column)][-1]


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    return torch.load(checkpoint, weights_only=True)["state_dict"]


def test_fit_test_and_load_alone(fusionlit, shapes, tmp_path):
    fusionlit("fit", *fit_args(shapes, tmp_path))
    run = tmp_path / "lightning_logs/version_0"
    best = run / "checkpoints/best.ckpt"
    assert (run / "checkpoints/last.ckpt").is_file()

    fusionlit("test", f"--config={run}/config.yaml", f"--ckpt_path={best}")
    accuracy = last_value(tmp_path / "lightning_logs/version_1", "test/accuracy")

    model = CentralNet.load_from_checkpoint(best).eval()
    data = ReplicatorDataModule(shapes)
    data.setup("test")
    hits = [
        (model(batch["inputs"]).prediction.argmax(1) == batch["target"])
        for batch in map(data.convert, data.test_dataloader())
    ]
    assert torch.cat(hits).double().mean().item() == pytest.approx(accuracy)


def test_the_same_command_twice_gives_equal_weights_bit_for_bit(fusionlit, shapes, tmp_path):
    for name in ("first", "second"):
        fusionlit("fit", *fit_args(shapes, tmp_path / name))
    first, second = (
        weights(tmp_path / name / "lightning_logs/version_0/checkpoints/last.ckpt") for name in ("first", "second")
    )
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_checkpoint_on_other_data_says_what_differs(fusionlit, shapes, tmp_path, capsys):
    fusionlit("fit", *fit_args(shapes, tmp_path))
    best = tmp_path / "lightning_logs/version_0/checkpoints/best.ckpt"
    saved = torch.load(best, weights_only=True)
    saved["modalities"] = [["rgb", [4, 32, 32]], ["radar", [4, 64, 64]]]
    other = tmp_path / "other.ckpt"
    torch.save(saved, other)
    with pytest.raises(SystemExit) as stop:
        fusionlit("test", *fit_args(shapes, tmp_path), f"--ckpt_path={other}")
    assert "radar (4, 64, 64) is in the checkpoint only" in str(stop.value)
    assert "rgb is (4, 32, 32) in the checkpoint, but (4, 64, 64) in the data" in str(stop.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--data.root=nowhere"], "nowhere: expected the folder of a data set"),
        (["--model.encoder.init_args.kernel_size=4"], "kernel_size"),
        (["--model.task=Regression"], "Expected a task for a 'multiclass' target, but got Regression"),
        (["--model=Unimodal", "--model.modality=radar"], "`modality` to be one of ['rgb', 'lidar'], but got 'radar'"),
    ],
)
def test_errors_are_one_message_without_a_traceback(fusionlit, shapes, tmp_path, change, message):
    with pytest.raises(SystemExit) as stop:
        fusionlit("fit", f"--model={MODEL}", f"--data={DATA}", f"--data.root={shapes}", *change)
    assert message in str(stop.value)
    assert str(stop.value).startswith("fusionlit: ")
    assert "Union subtypes" not in str(stop.value)


def test_a_users_own_class_is_found_in_the_working_folder(fusionlit, shapes, tmp_path, monkeypatch):
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "class Maximum" in block]
    (tmp_path / "my_fusion.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != str(tmp_path)])
    model = ["--model=IntermediateFusion", "--model.fusion=my_fusion.Maximum"]
    fusionlit("fit", f"--data={DATA}", f"--data.root={shapes}", *model, "--trainer.fast_dev_run=1")
    assert sys.modules["my_fusion"].__file__ == str(tmp_path / "my_fusion.py")


def test_bf16_mixed_trains_and_tests(fusionlit, shapes, tmp_path):
    args = fit_args(shapes, tmp_path, "--trainer.precision=bf16-mixed")
    fusionlit("fit", *args)
    fusionlit("test", *args, f"--ckpt_path={tmp_path}/lightning_logs/version_0/checkpoints/best.ckpt")
    assert 0 <= last_value(tmp_path / "lightning_logs/version_1", "test/accuracy") <= 1


@pytest.mark.parametrize("precision", ["64-true", "bf16-true"])
def test_true_precisions_follow_through_the_conversion(fusionlit, shapes, tmp_path, precision):
    fusionlit("fit", *fit_args(shapes, tmp_path), f"--trainer.precision={precision}", "--trainer.fast_dev_run=1")


def test_two_processes_count_every_sample_once(fusionlit, tmp_path):
    root = tmp_path / "data"
    render(root, frames=21)  # 3 test frames of 2 classes: an odd number for each process
    ddp = ["--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.accelerator=cpu"]
    quiet = ["--trainer.enable_progress_bar=false"]

    def run(command: str, *args: str) -> None:
        subprocess.run(
            [sys.executable, "-m", "fusionlit", command, *args, *quiet],
            check=True,
            timeout=280,
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    split = ["--data.split=FractionSplit", "--data.split.val=0.14", "--data.split.test=0.14", "--data.split.train=0.72"]
    run("fit", *fit_args(root, tmp_path, *split, *ddp))
    logs = tmp_path / "lightning_logs"
    best = f"--ckpt_path={logs}/version_0/checkpoints/best.ckpt"
    run("test", *fit_args(root, tmp_path, *split, *ddp), best)
    fusionlit("test", *fit_args(root, tmp_path, *split), best)
    for metric in ("test/accuracy", "test/loss", "test/f1"):
        two, one = (last_value(logs / f"version_{version}", metric) for version in (1, 2))
        assert two == pytest.approx(one, abs=1e-6)
    assert last_value(logs / "version_0", "fusion_weights/stage1/rgb") > 0


def test_render_and_its_errors(fusionlit, tmp_path):
    fusionlit("render", tmp_path / "data", "--frames", "3", "--seed", "1")
    assert len(list((tmp_path / "data/cubes/rgb").glob("*.png"))) == 3
    with pytest.raises(SystemExit) as stop:
        fusionlit("render", tmp_path / "data", "--frames", "3")
    assert str(tmp_path / "data") in str(stop.value)
    fusionlit("render", tmp_path / "data", "--frames", "2", "--overwrite")
    assert len(list((tmp_path / "data/cubes/rgb").glob("*.png"))) == 2


def test_compare_trains_every_model_on_the_same_splits(fusionlit, shapes, tmp_path, capsys):
    data = tmp_path / "data.yaml"
    data.write_text(DATA.read_text().replace("data/replicator_shape", str(shapes)))
    trainer = tmp_path / "trainer.yaml"
    trainer.write_text("max_epochs: 1\nenable_progress_bar: false\naccelerator: cpu\nlog_every_n_steps: 1\n")
    models = [str(ROOT / f"configs/model/{name}.yaml") for name in ("centralnet", "unimodal_rgb")]
    out = tmp_path / "out"
    args = ["--data", data, "--models", *models, "--seeds", "2", "--trainer", trainer, "--out", out]
    fusionlit("compare", *args)
    rows = [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]
    assert [(row["model"], row["seed"]) for row in rows] == [
        ("centralnet", 0),
        ("unimodal_rgb", 0),
        ("centralnet", 1),
        ("unimodal_rgb", 1),
    ]
    assert rows[0]["test/loss"] != rows[2]["test/loss"]
    table = capsys.readouterr().out
    assert "unimodal_rgb" in table
    assert "±" in table
    assert "epoch_seconds" in table
    assert "unimodal_loss" not in table  # only CentralNet has it
    with pytest.raises(SystemExit) as stop:
        fusionlit("compare", *args)
    assert "rows.jsonl is there: choose another folder" in str(stop.value)


@pytest.mark.parametrize("command", [["--help"], ["fit", "--help"], ["compare", "--help"], ["weights", "--help"]])
def test_help(fusionlit, command, capsys):
    with pytest.raises(SystemExit) as stop:
        fusionlit(*command)
    assert stop.value.code == 0
    assert "usage: fusionlit" in capsys.readouterr().out


def test_the_readmes_commands_run(fusionlit, tmp_path, monkeypatch):
    """As they stand, on fewer frames; RUN is what the README says it is."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    block = next(block for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL) if "fusionlit render" in block)
    commands = [shlex.split(line, comments=True) for line in block.splitlines() if line.startswith("fusionlit ")]
    assert [command[1] for command in commands] == ["render", "fit", "test", "weights"]
    fewer = {"render": ["--frames", "16"], "fit": ["--trainer.max_epochs=1", "--trainer.log_every_n_steps=1"]}
    for _, name, *args in commands:
        run = [arg.replace("RUN", "lightning_logs/version_0") for arg in args]
        fusionlit(name, *run, *fewer.get(name, []))
    assert (tmp_path / "lightning_logs/version_0/fusion_weights.png").is_file()
