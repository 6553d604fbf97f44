"""Mistakes that are said before anything heavy is imported."""

import subprocess
import sys
from inspect import signature

import pytest
from lightning import Trainer

from fusionlit.cli.early import OPTIONS, check_options, trainer_arguments
from fusionlit.errors import ConfigError
from fusionlit.fit import FitCLI


def test_the_options_are_those_of_the_parser(monkeypatch):
    parsers = {}

    def keep(self, parser, args):
        parsers.update(self._subcommand_parsers)
        raise InterruptedError

    monkeypatch.setattr(FitCLI, "parse_arguments", keep)
    with pytest.raises(InterruptedError):
        FitCLI(args=[])
    there_are = {each.dest.split(".")[0] for parser in parsers.values() for each in parser._actions}
    assert set(OPTIONS) == there_are
    assert trainer_arguments() == [name for name in signature(Trainer.__init__).parameters if name != "self"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--trainer.max_epoch", "3"], "There is no trainer.max_epoch; did you mean max_epochs?"),
        (["--trainer.callback+=EarlyStopping"], "There is no trainer.callback; did you mean callbacks?"),
        (["--trianer.max_epochs=3"], "There is no trianer; did you mean trainer?"),
        (["--modle", "CentralNet"], "There is no modle; did you mean model?"),
        (["--model=none.yaml"], "There is no file none.yaml."),
        (["--config", "none.yml"], "There is no file none.yml."),
    ],
)
def test_a_mistake_is_said_with_what_was_meant(args, said, capsys):
    with pytest.raises(SystemExit) as stop:
        check_options(args)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(f"fusionlit: {said}\n")
    assert "See fusionlit fit --help" in error


def test_a_checkpoint_that_is_not_there():
    with pytest.raises(ConfigError, match=r"Expected `ckpt_path` to be a checkpoint, but there is no file none.ckpt"):
        check_options(["--ckpt_path=none.ckpt"])


def test_what_only_the_parser_can_judge_is_left_to_it(tmp_path):
    (tmp_path / "model.yaml").write_text("")
    check_options(
        [
            *(f"--model={tmp_path}/model.yaml", "--model.encodr=ConvEncoder", "--data.root", "none", "--data.rot=1"),
            *("--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=x"),
            *("--ckpt_path=best", "--print_config", "--checkpoint.mode", "min", "--data.write_split=new.json"),
            *("--model.encoder", "none.yaml", "--trainer.callbacks.report=new.yaml"),
            *("--trainer={max_epochs: 3}", "--seed_everything", "--zzz=3"),
        ]
    )


def test_lightnings_source_may_be_another(monkeypatch):
    monkeypatch.setattr("fusionlit.cli.early.find_spec", lambda name: None)
    assert trainer_arguments() == []
    check_options(["--trainer.max_epoch=3"])


@pytest.mark.parametrize("mistake", ["--trainer.max_epoch=3", "--model=none.yaml", "--ckpt_path=none.ckpt"])
def test_it_waits_for_nothing_heavy(mistake):
    code = "import atexit, sys; from fusionlit.main import main; atexit.register(lambda: print(*sys.modules)); main()"
    ran = subprocess.run([sys.executable, "-c", code, "fit", mistake], capture_output=True, text=True)
    assert ran.returncode != 0
    assert "fusionlit: " in ran.stderr
    assert not {"torch", "lightning", "matplotlib", "numpy", "jsonargparse"} & set(ran.stdout.split())
