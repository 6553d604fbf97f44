"""A run made in Python is that of the command line, whatever `sys.argv` says."""

import re
import sys
from pathlib import Path

import pytest
import torch
import yaml

import fusionlit
from fusionlit import Run, build_run
from fusionlit.cli.fusion_cli import FusionCLI
from fusionlit.cli.run import rebuild_run, run_options
from fusionlit.errors import ConfigError, DataError

CONFIGS = Path(__file__).parents[2] / "configs"
DATA = CONFIGS / "data/planted_signals.yaml"
MODEL = CONFIGS / "model/centralnet.yaml"
QUIET = {"accelerator": "cpu", "enable_progress_bar": False, "max_epochs": 3}


@pytest.fixture
def run_of(planted_signals):
    """A run on planted signals; `data` and `model` may be given otherwise."""

    def make(data=DATA, model=MODEL, trainer=QUIET, seed=0, **overrides):
        more = {name.replace("__", "."): value for name, value in overrides.items()}
        return build_run(data, model, trainer, seed, {"data.path": planted_signals, **more})

    return make


def same(first, second):
    return all(torch.equal(first[key], x) for key, x in second.items()) and first.keys() == second.keys()


def test_a_run_is_that_of_the_command_line_whatever_sys_argv_says(run_of, planted_signals, monkeypatch, tmp_path):
    trainer = tmp_path / "trainer.yaml"
    trainer.write_text(yaml.safe_dump(QUIET))
    files = [f"--data={DATA}", f"--model={MODEL}", f"--trainer={trainer}"]
    cli = FusionCLI(run=False, args=[*files, f"--data.path={planted_signals}", "--seed_everything=5"])
    monkeypatch.setattr(sys, "argv", ["fusionlit", "--seed_everything=7", "--no.such=option"])
    run = run_of(seed=5)
    assert isinstance(run, Run)
    assert same(cli.model.state_dict(), run.model.state_dict())
    assert run.config == yaml.safe_load(cli.parser.dump(cli.config, skip_none=False))
    assert [type(each) for each in run.trainer.callbacks] == [type(each) for each in cli.trainer.callbacks]
    assert not same(run_of(seed=6).model.state_dict(), run.model.state_dict())


def test_files_dicts_and_names_of_classes_are_the_same(run_of, planted_signals):
    data, model = (yaml.safe_load(file.read_text()) for file in (DATA, MODEL))
    expected = run_of().config
    for given in ({"data": data, "model": model}, {"data": str(DATA), "model": str(MODEL)}):
        assert run_of(**given).config == expected
    assert run_of(model="EarlyFusion").config == run_of(model={"class_path": "EarlyFusion"}).config
    plain = run_of("ArrayDataModule").datamodule
    assert (plain.path, plain.batch_size) == (planted_signals, 32)


def test_overrides_are_options_of_any_part(run_of):
    run = run_of(
        data__batch_size=7,
        data__augmentation=None,
        model__training={"scheduler": None, "fusion_lr_mult": 3.0},
        model__encoder__widths=[4, 8],
        trainer__max_epochs=2,
        fusion_weights__figure=False,
    )
    assert (run.datamodule.batch_size, run.datamodule.augmentation) == (7, None)
    assert (run.model.training_setup.scheduler, run.model.training_setup.fusion_lr_mult) == (None, 3.0)
    assert run.trainer.max_epochs == 2
    assert run.config["fusion_weights"]["figure"] is False
    assert run.config["model"]["init_args"]["encoder"]["init_args"]["widths"] == [4, 8]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"trainer__max_epoch": 3}, "There is no trainer.max_epoch; did you mean max_epochs?"),
        ({"model__encodr": "ConvEncoder"}, "did you mean encoder"),
        ({"data__batch_size": "many"}, "Expected a whole number"),
        ({"model": "CentralNett"}, "did you mean CentralNet?"),
        ({"model": "none.yaml"}, "There is no file none.yaml."),
        ({"model": Path("none.yaml")}, "Expected `model` to be a configuration file, but none.yaml does not exist."),
        ({"model__task": "Regression"}, "Expected a task for a 'multiclass' target, but got Regression"),
        ({"trainer": {"strategy": "chess"}}, "The trainer cannot be built from its options (--trainer.*)"),
        ({"trainer": {"max_epoch": 3}}, "did you mean max_epochs?"),
    ],
)
def test_what_does_not_fit_is_said_as_on_the_command_line(run_of, given, message, capsys):
    with pytest.raises(ConfigError) as error:
        run_of(**given)
    assert message in str(error.value)
    assert "<class" not in str(error.value)
    assert not capsys.readouterr().err.startswith("fusionlit:")


def test_data_that_is_not_there_and_a_bug_of_ones_own_come_as_they_are(run_of, tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"nowhere\.npz"):
        run_of(data__path="nowhere.npz")
    (tmp_path / "buggy_part.py").write_text(
        "from fusionlit.fusion import Concat\n\n\nclass Buggy(Concat):\n"
        "    def __init__(self, shapes):\n        super().__init__(shapes)\n        1 / 0\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ZeroDivisionError):
        run_of(model="IntermediateFusion", model__fusion="buggy_part.Buggy")


def test_a_whole_configuration_is_built_again(run_of, tmp_path):
    run = run_of(seed=4)
    run.save(tmp_path / "config.yaml")
    again = rebuild_run(yaml.safe_load((tmp_path / "config.yaml").read_text()))
    assert again.config == run.config
    assert same(again.model.state_dict(), run.model.state_dict())
    with pytest.raises(ConfigError, match="data"):
        rebuild_run({**run.config, "data": {"class_path": "Nothing"}})


def test_a_run_that_writes_nothing_leaves_no_configuration(run_of, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    few = {"limit_train_batches": 1, "limit_val_batches": 1, "enable_model_summary": False, "logger": False}
    for checkpoints in (False, True):
        run = run_of(trainer={**QUIET, **few, "max_epochs": 1, "enable_checkpointing": checkpoints})
        run.trainer.fit(run.model, run.datamodule)
        assert (tmp_path / "config.yaml").exists() is checkpoints


def test_the_readmes_run_runs(shapes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(CONFIGS)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/frames").symlink_to(shapes)
    text = (CONFIGS.parent / "README.md").read_text()
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "build_run" in block]
    once = '"trainer.max_epochs": 3, "trainer.fast_dev_run": True, "trainer.enable_progress_bar": False'
    assert '"trainer.max_epochs": 3' in code
    names = {}
    exec(code.replace('"trainer.max_epochs": 3', once), names)
    assert names["run"].trainer.global_step == 1
    assert names["run"].config["data"]["init_args"]["batch_size"] == 64


def test_options_are_written_as_on_the_command_line():
    options = run_options("A", {"class_path": "B"}, seed=2, overrides={"x": None, "y": [1, True], "z": Path("p")})
    assert options == [
        "--data=A",
        '--model={"class_path": "B"}',
        "--seed_everything=2",
        "--x=null",
        "--y=[1, true]",
        "--z=p",
    ]


def test_what_is_exported_is_found_and_nothing_else():
    assert fusionlit.build_run is build_run
    with pytest.raises(AttributeError, match="No fusionlit attribute biuld_run"):
        _ = fusionlit.biuld_run
