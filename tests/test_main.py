"""The command line, end to end on rendered files."""

import csv
import os
import re
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from fusionlit.data import ReplicatorDataModule
from fusionlit.main import COMMANDS, main
from fusionlit.models import CentralNet
from fusionlit.synthetic import render
from tests.processes import run_two

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "configs/model/centralnet.yaml"
DATA = ROOT / "configs/data/replicator_shape.yaml"
README = (ROOT / "README.md").read_text()
BOARD = "lightning.pytorch.loggers.TensorBoardLogger"


def last_value(folder: Path, column: str) -> float:
    with (folder / "metrics.csv").open() as file:
        return [float(row[column]) for row in csv.DictReader(file) if row.get(column)][-1]


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    return torch.load(checkpoint, weights_only=True)["state_dict"]


def test_fit_test_and_load_alone(fusionlit, shapes, tmp_path, fit_args):
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


def test_the_same_command_twice_gives_equal_weights_bit_for_bit(fusionlit, shapes, tmp_path, fit_args):
    for name in ("first", "second"):
        fusionlit("fit", *fit_args(shapes, tmp_path / name))
    first, second = (
        weights(tmp_path / name / "lightning_logs/version_0/checkpoints/last.ckpt") for name in ("first", "second")
    )
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--data.root=nowhere"], "nowhere: expected the folder of a data set"),
        (["--model.encoder.init_args.kernel_size=4"], "kernel_size"),
        (["--data.split=FileSplit", "--data.split.path=none.json"], "none.json: expected a JSON file of group lists"),
        (["--model.task=Regression"], "Expected a task for a 'multiclass' target, but got Regression"),
        (["--model=Unimodal", "--model.modality=radar"], "`modality` to be one of ['rgb', 'lidar'], but got 'radar'"),
    ],
)
def test_errors_are_one_message_without_a_traceback(fusionlit, shapes, tmp_path, change, message):
    options = [f"--model={MODEL}", f"--data={DATA}", f"--data.root={shapes}", "--trainer.max_epochs=1"]
    with pytest.raises(SystemExit) as stop:
        fusionlit("fit", *options, *change)
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


def test_bf16_mixed_trains_and_tests(fusionlit, shapes, tmp_path, fit_args):
    args = fit_args(shapes, tmp_path, "--trainer.precision=bf16-mixed")
    fusionlit("fit", *args)
    fusionlit("test", *args, f"--ckpt_path={tmp_path}/lightning_logs/version_0/checkpoints/best.ckpt")
    best = f"--ckpt_path={tmp_path}/lightning_logs/version_0/checkpoints/best.ckpt"
    fusionlit("test", *fit_args(shapes, tmp_path), best)
    mixed, single = (last_value(tmp_path / f"lightning_logs/version_{version}", "test/loss") for version in (1, 2))
    assert mixed == pytest.approx(single, rel=0.05)  # bfloat16 has three digits
    assert mixed != single, "nothing was computed in bfloat16"


def test_two_processes_count_every_sample_once(fusionlit, tmp_path, fit_args):
    root = tmp_path / "data"
    render(root, frames=21, task="position")
    ddp = ["--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.accelerator=cpu"]
    split = ["--data.split=FractionSplit", "--data.split.val=0.14", "--data.split.test=0.14", "--data.split.train=0.72"]
    position = ["--data.task=position", "--data.augmentation=null", *split]

    # The command itself starts the second process, for both trainings.
    subprocess.run(
        [sys.executable, "-m", "fusionlit", "fit", *fit_args(root, tmp_path, *position, *ddp), "--refit=true"],
        check=True,
        timeout=280,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    logs = tmp_path / "lightning_logs"
    steps = [
        torch.load(logs / f"version_0/{each}/last.ckpt", weights_only=True)["global_step"]
        for each in ("checkpoints", "refit/checkpoints")
    ]
    assert steps == [1, 2], "15 samples are one step of two processes, with 3 of validation they are two"
    best = f"--ckpt_path={logs}/version_0/checkpoints/best.ckpt"
    run_two(main, ["test", *fit_args(root, tmp_path, *position, *ddp), best], folder=ROOT, timeout=100)
    fusionlit("test", *fit_args(root, tmp_path, *position), best)
    # Three test samples: a sampler that pads would give the first of them to both processes.
    for metric in ("test/mse", "test/mae", "test/loss"):
        two, one = (last_value(logs / f"version_{version}", metric) for version in (1, 2))
        assert two == pytest.approx(one, rel=1e-5)
    assert last_value(logs / "version_0", "fusion_weights/stage1/rgb") > 0


def test_render_and_its_errors(fusionlit, tmp_path):
    fusionlit("render", tmp_path / "data", "--frames", "3", "--seed", "1")
    assert len(list((tmp_path / "data/cubes/rgb").glob("*.png"))) == 3
    with pytest.raises(SystemExit) as stop:
        fusionlit("render", tmp_path / "data", "--frames", "3")
    assert str(tmp_path / "data") in str(stop.value)
    fusionlit("render", tmp_path / "data", "--frames", "2", "--overwrite")
    assert len(list((tmp_path / "data/cubes/rgb").glob("*.png"))) == 2


def test_pack_packs_ahead_once_and_says_where(fusionlit, tmp_path, capsys, caplog):
    render(tmp_path / "data", frames=3)
    args = ["--data", DATA, f"--data.root={tmp_path / 'data'}", f"--data.pack={tmp_path / 'packed'}"]
    for packs in (True, False):
        caplog.clear()
        with caplog.at_level("INFO"):
            fusionlit("pack", *args)
        assert ("packed 6 samples into" in caplog.text) is packs
        said = capsys.readouterr().out
        (folder,) = (tmp_path / "packed/.fusionlit").glob("*/")
        assert f"{folder}: complete and up to date, 0.000197 GB, 0 unusable samples." in said.replace("\n", "")
    assert not (tmp_path / "data/.fusionlit").exists()
    with pytest.raises(SystemExit) as stop:
        fusionlit("pack", "--data", DATA, f"--data.root={tmp_path / 'nowhere'}")
    assert str(stop.value).startswith(
        f"fusionlit: DataError: {tmp_path / 'nowhere'}: expected the folder of a data set"
    )


def test_what_needs_no_packing_says_so(fusionlit, planted_signals, capsys):
    fusionlit("pack", "--data", ROOT / "configs/data/planted_signals.yaml", f"--data.path={planted_signals}")
    assert "ArrayDataModule has nothing to pack" in capsys.readouterr().out


def test_a_command_that_there_is_not_names_those_that_there_are(fusionlit):
    with pytest.raises(SystemExit) as stop:
        main(["wieghts", "runs"])
    assert "one of fit, validate, test, predict, compare, pack, render, weights, but got 'wieghts'" in str(stop.value)


def test_a_bug_in_a_users_own_class_keeps_its_traceback(fusionlit, shapes, tmp_path, monkeypatch):
    (tmp_path / "buggy.py").write_text(
        "from fusionlit.fusion import Concat\n\n\nclass Buggy(Concat):\n"
        "    def __init__(self, shapes):\n        super().__init__(shapes)\n        1 / 0\n"
    )
    monkeypatch.chdir(tmp_path)
    model = ["--model=IntermediateFusion", "--model.fusion=buggy.Buggy"]
    with pytest.raises(ZeroDivisionError, match="division by zero"):
        fusionlit("fit", f"--data={DATA}", f"--data.root={shapes}", *model)


def test_predict_writes_every_sample(fusionlit, shapes, tmp_path, fit_args):
    fusionlit("fit", *fit_args(shapes, tmp_path))
    logs = tmp_path / "lightning_logs"
    fusionlit("predict", *fit_args(shapes, tmp_path), f"--ckpt_path={logs}/version_0/checkpoints/best.ckpt")
    with (logs / "version_1/predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["index", "target", "prediction_cubes", "prediction_spheres"]
    data = ReplicatorDataModule(shapes)
    data.setup("test")
    assert [int(row["index"]) for row in rows] == data.dataset("test").rows.tolist()
    assert all(float(r["prediction_cubes"]) + float(r["prediction_spheres"]) == pytest.approx(1) for r in rows)


UNLABELLED = """
from pathlib import Path
from fusionlit.data import FusionDataModule, ReplicatorDataModule
from torch.utils.data import Dataset

class WithoutTarget(Dataset):
    def __init__(self, labelled):
        self.labelled = labelled

    def __len__(self):
        return len(self.labelled)

    def __getitem__(self, i):
        return {key: value for key, value in self.labelled[i].items() if key != "target"}

class Unlabelled(FusionDataModule):
    def __init__(self, root: Path):
        super().__init__()
        self.labelled = ReplicatorDataModule(root)

    @property
    def modalities(self):
        return self.labelled.modalities

    def dataset(self, split):
        self.labelled.setup("predict")
        return WithoutTarget(self.labelled.dataset(split))

    def convert(self, batch):
        return self.labelled.convert(batch)
"""


def test_unlabelled_data_is_predicted_alone(fusionlit, shapes, tmp_path, fit_args, monkeypatch):
    fusionlit("fit", *fit_args(shapes, tmp_path))
    logs = tmp_path / "lightning_logs"
    ckpt = f"--ckpt_path={logs}/version_0/checkpoints/best.ckpt"
    fusionlit("predict", *fit_args(shapes, tmp_path), ckpt)
    (tmp_path / "unlabelled.py").write_text(UNLABELLED)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    unlabelled = ["--data=unlabelled.Unlabelled", f"--data.root={shapes}", f"--trainer.default_root_dir={tmp_path}"]
    logger = "--trainer.logger=lightning.pytorch.loggers.CSVLogger"
    fusionlit("predict", *unlabelled, logger, f"--trainer.logger.save_dir={tmp_path}", ckpt)
    with (logs / "version_1/predictions.csv").open() as known, (logs / "version_2/predictions.csv").open() as new:
        rows, others = (list(csv.DictReader(file)) for file in (known, new))
    assert others == [{key: value for key, value in row.items() if key != "target"} for row in rows]
    with pytest.raises(SystemExit, match="Expected batches with a `target` to measure, but they hold"):
        fusionlit("test", *unlabelled, ckpt)
    with pytest.raises(SystemExit, match=r"`target` to be a TargetSpec, but got None\. Give the data module"):
        fusionlit("fit", *unlabelled, "--model=CentralNet")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--model=CentralNett"], "did you mean CentralNet?"),
        (["--model=IntermediateFusion", "--model.fusion=Concatt"], "did you mean Concat?"),
        (["--model=none.yaml"], "There is no file none.yaml."),
        (["--model=CentralNet", "--model.weights=softmx"], "Expected one of 'softmax', 'raw', 'sigmoid'"),
        (["--model=CentralNet", "--model.encoder=ConvEncoder", "--model.encoder.width=3"], "'width' is not accepted"),
    ],
)
def test_what_cannot_be_parsed_is_said_in_a_few_lines(fusionlit, shapes, args, message, capsys):
    with pytest.raises(SystemExit) as stop:
        fusionlit("fit", f"--data={DATA}", f"--data.root={shapes}", *args)
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert message in said
    assert len(said.splitlines()) < 10


@pytest.mark.parametrize(
    "command", [["--help"], ["fit", "--help"], ["compare", "--help"], ["pack", "--help"], ["weights", "--help"]]
)
def test_help(fusionlit, command, capsys):
    with pytest.raises(SystemExit) as stop:
        fusionlit(*command)
    assert stop.value.code == 0
    assert "usage: fusionlit" in capsys.readouterr().out


def test_the_help_names_every_command_and_the_version_is_that_of_the_package(capsys):
    for args in ([], ["-h"], ["--help"]):
        with pytest.raises(SystemExit) as stop:
            main(args)
        assert stop.value.code == 0
        said = capsys.readouterr().out
        assert [line.split()[0] for line in said.splitlines() if re.match(r"  [a-z]", line)] == list(COMMANDS)
        assert max(map(len, said.splitlines())) <= 100
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"fusionlit {version('fusionlit')}\n"


def test_the_help_waits_for_nothing_heavy():
    code = "import atexit, sys; from fusionlit.main import main; atexit.register(lambda: print(*sys.modules)); main()"
    loaded = subprocess.run(
        [sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "fusionlit.cli" in loaded
    assert not {"torch", "lightning", "matplotlib", "numpy"} & set(loaded)


@pytest.fixture
def early(fusionlit, planted_signals):
    """Run a command with an early fusion of planted signals, on one batch of each split."""

    def run(command, *options, model="--model=EarlyFusion"):
        data = [f"--data={ROOT}/configs/data/planted_signals.yaml", f"--data.path={planted_signals}"]
        few = [f"--trainer.limit_{stage}_batches=1" for stage in ("train", "val", "test", "predict")]
        fusionlit(command, *data, *([model] if model else []), *few, *options)

    return run


def test_what_was_trained_is_said_and_without_a_checkpoint_nothing_is_measured(early, tmp_path, caplog, capsys):
    for command in ("validate", "test", "predict"):
        with pytest.raises(SystemExit, match=r"has not been trained. `fusionlit fit` writes checkpoints"):
            early(command)
    length = ["--trainer.max_epochs=2", "--trainer.log_every_n_steps=1"]
    with caplog.at_level("INFO"):
        early("fit", *length)
    run = tmp_path / "lightning_logs/version_0"
    best = run / "checkpoints/best.ckpt"
    saved = torch.load(best, weights_only=True)
    (score,) = [float(x["best_model_score"]) for key, x in saved["callbacks"].items() if key == "BestCheckpoint[best]"]
    assert (
        f"The run is in {run}. The best model (epochs: {saved['epoch'] + 1}, val/accuracy_smoothed {score:.4g}) is"
        " in"
        f" {best}. Next: fusionlit test --config {run}/config.yaml --ckpt_path {best}"
    ) in caplog.text
    assert "fusionlit weights" not in caplog.text, "an early fusion has no fusion weights"

    for config in ([], [f"--config={run}/config.yaml"]):
        with pytest.raises(SystemExit) as stop:
            early("test", *config)
        assert stop.value.code.count(f"{run}/checkpoints") == 2
    capsys.readouterr()
    for command, said in (("test", "test/accuracy"), ("predict", "")):  # its model is that of the checkpoint
        early(command, f"--ckpt_path={best}", model=None)
        assert said in capsys.readouterr().out
    with pytest.raises(SystemExit, match="Expected a model, but got none"):
        early("fit", model=None)


def test_nothing_is_said_of_a_run_that_wrote_nothing(early, caplog):
    with caplog.at_level("INFO"):
        early("fit", "--trainer.fast_dev_run=1")
    assert "The run is in" not in caplog.text


def test_a_run_with_fusion_weights_names_the_command_that_shows_them(early, tmp_path, caplog):
    length = ["--trainer.max_epochs=1", "--trainer.log_every_n_steps=1", "--trainer.limit_val_batches=0"]
    logger = [f"--trainer.logger={BOARD}", f"--trainer.logger.save_dir={tmp_path}"]
    with caplog.at_level("INFO"):
        early("fit", *length, *logger, model="--model=CentralNet")
    run = tmp_path / "lightning_logs/version_0"
    assert f"The last model is in {run}/checkpoints/last.ckpt." in caplog.text
    assert f"fusionlit weights {run}" in caplog.text


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
