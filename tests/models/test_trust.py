"""A checkpoint runs nothing and imports nothing that its reader does not know; a configuration calls no function."""

import json
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import nn

from fusionlit.encoders import ConvEncoder, MLPEncoder
from fusionlit.errors import ConfigError
from fusionlit.fusion import Concat
from fusionlit.main import main
from fusionlit.models import (
    CentralNet,
    Ensemble,
    FusionModule,
    IntermediateFusion,
    LateFusion,
    TrainingConfig,
    Unimodal,
)
from fusionlit.models.balance import UMT
from fusionlit.models.trust import check_configuration, own_modules
from fusionlit.types import TargetSpec

MODALITIES, TARGET = {"a": (4,), "b": (4,)}, TargetSpec("multiclass", 2, ("0", "1"))
ENCODER = partial(MLPEncoder, widths=(4,))
SHELL = {"class_path": "os.system", "init_args": {"command": "touch canary"}}
YAML = "{class_path: os.system, init_args: {command: touch canary}}"
MODULE = """
from pathlib import Path
from fusionlit.encoders import MLPEncoder
from fusionlit.models import IntermediateFusion

Path("canary").touch()

class Mine(MLPEncoder):
    pass

class Net(IntermediateFusion):
    pass
"""
FIELDS = {
    "task": {"task": SHELL},
    "fusion": {"fusion": SHELL},
    "head": {"head": SHELL},
    "trunk": {"trunk": SHELL},
    "encoder": {"encoder": SHELL},
    "encoders.a": {"encoders": {"a": SHELL}},
    "training.optimizer": {"training": {"optimizer": SHELL}},
    "training.scheduler": {"training": {"scheduler": SHELL}},
    "training.balance": {"training": {"balance": SHELL}},
    "training.scheduler.lr_lambda": {
        "training": {
            "scheduler": {"class_path": "torch.optim.lr_scheduler.LambdaLR", "init_args": {"lr_lambda": SHELL}}
        }
    },
    # as jsonargparse reads it: YAML in text, a file, a class path alone
    "task ": {"task": YAML},
    "training": {"training": f"{{balance: {YAML}}}"},
    "encoder ": {"encoder": "shell.yaml"},
    "fusion ": {"fusion": "stranger.Mine"},
    "head ": {"head": {"class_path": "stranger.Mine"}},
    "trunk ": {
        "trunk": {"class_path": "torch.distributed.nn.RemoteModule", "init_args": {"module_cls": "stranger.Mine"}}
    },
    # modalities that are called like what means something elsewhere
    **{f"encoders.{name}": {"encoders": {name: "stranger.Mine"}} for name in ("args", "kwargs", "self")},
    "encoders": {"encoders": {"class_path": "fusionlit.encoders.ConvEncoder", "kernel_size": "stranger.Mine"}},
    "encoders.class": {"encoders": {"class": {"_class_path": "fusionlit.models.Unimodal", "x": "stranger.Mine"}}},
    "_class_path  ": {"_class_path": "torch.utils.model_dump.__main__.X"},
    "_class_path": {"_class_path": "stranger.Net"},
    "_class_path ": {"_class_path": "os.system"},
    "_instantiator": {"_instantiator": "stranger.Net"},
    "members[0].task": {"members": [json.dumps({"_class_path": "fusionlit.models.Unimodal", "task": SHELL})]},
    "members.a._class_path": {"members": {"a": json.dumps({"_class_path": "stranger.Net"})}},
}


def save(model: FusionModule, path: Path, make_trainer) -> Path:
    trainer = make_trainer()
    trainer.strategy.connect(model)
    trainer.save_checkpoint(path)
    return path


def tampered(path: Path, changes: dict[str, Any]) -> Path:
    saved = torch.load(path, weights_only=True)
    saved["hyper_parameters"].update(changes)
    torch.save(saved, path)
    torch.load(path, weights_only=True)  # which does not object
    return path


@pytest.fixture
def folder(tmp_path, monkeypatch, make_trainer) -> Path:
    """A working folder with a stranger's files in it, and a checkpoint."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "stranger", raising=False)
    (tmp_path / "stranger.py").write_text(MODULE)
    (tmp_path / "shell.yaml").write_text(json.dumps(SHELL))
    rng = np.random.default_rng(0)
    x = {name: rng.normal(size=(40, 4)).astype(np.float32) for name in MODALITIES}
    np.savez(tmp_path / "data.npz", **x, target=np.arange(40) % 2)
    path = save(IntermediateFusion(MODALITIES, TARGET, ENCODER, normalize=False), tmp_path / "net.ckpt", make_trainer)
    tampered(path, {"_class_path": "fusionlit.models.IntermediateFusion"})  # as the command line writes it
    return tmp_path


def command(name: str, *args: str) -> None:
    data = ["--data=ArrayDataModule", "--data.path=data.npz"]
    off = [f"--trainer.{what}=false" for what in ("logger", "enable_progress_bar", "enable_model_summary")]
    main([name, *data, "--model=IntermediateFusion", *args, "--trainer.accelerator=cpu", *off])


@pytest.fixture
def untouched(folder):
    """Afterwards nothing has run."""
    yield
    assert not (folder / "canary").exists()
    assert "stranger" not in sys.modules


@pytest.mark.parametrize("field", FIELDS)
def test_a_checkpoint_runs_nothing_in_python(folder, untouched, field):
    path = tampered(folder / "net.ckpt", FIELDS[field])
    with pytest.raises(ConfigError) as caught:
        IntermediateFusion.load_from_checkpoint(path)
    assert str(caught.value).startswith(f"Expected `hyper_parameters.{field.strip()}")
    assert f"of {path} to " in str(caught.value)


@pytest.mark.parametrize("field", FIELDS)
def test_a_checkpoint_runs_nothing_on_the_command_line(folder, untouched, field):
    tampered(folder / "net.ckpt", FIELDS[field])
    with pytest.raises(SystemExit) as stop:
        command("test", "--ckpt_path=net.ckpt")
    assert f"ConfigError: Expected `hyper_parameters.{field.strip()}" in str(stop.value)
    assert "of net.ckpt to " in str(stop.value)


@pytest.mark.parametrize("name", ["fit", "validate", "predict"])
def test_nor_does_any_other_command(folder, untouched, name):
    tampered(folder / "net.ckpt", FIELDS["task"])
    with pytest.raises(SystemExit, match=r"Expected `hyper_parameters.task` of net.ckpt to name a subclass of Task"):
        command(name, "--ckpt_path=net.ckpt")


def test_the_message_says_what_to_do(folder, untouched):
    tampered(folder / "net.ckpt", {"encoder": {"class_path": "stranger.Mine"}})
    with pytest.raises(SystemExit) as stop:
        command("test", "--ckpt_path=net.ckpt")
    assert "to name a subclass of Encoder of an imported module, but got stranger.Mine." in str(stop.value)
    assert "import stranger first; on the command line, give the configuration that names it" in str(stop.value)


def test_what_is_wrong_in_a_checkpoint_is_not_looked_up(folder, untouched, capsys):
    """As a class path of the command line is, by importing it, to say what is wrong with it."""
    encoder = {"class_path": "fusionlit.encoders.MLPEncoder", "init_args": {"widths": "stranger.Mine"}}
    tampered(folder / "net.ckpt", {"encoder": encoder})
    with pytest.raises(SystemExit) as stop:
        command("test", "--ckpt_path=net.ckpt")
    assert "net.ckpt contains a model that cannot be built: " in str(stop.value)
    assert "stranger.Mine" in str(stop.value)


def test_members_and_teachers_are_checkpoints_too(folder, untouched, make_trainer):
    alone = save(Unimodal(MODALITIES, TARGET, "a", ENCODER), folder / "alone.ckpt", make_trainer)
    tampered(alone, {"task": SHELL})
    by_file, in_text = str(alone), json.dumps(torch.load(alone, weights_only=True)["hyper_parameters"])
    for member in (by_file, in_text):
        with pytest.raises(
            ConfigError, match=r"`hyper_parameters.task` of .*members\[0\].* to name a subclass of Task"
        ):
            Ensemble(MODALITIES, TARGET, [member])
        for strategy in (LateFusion, partial(CentralNet, encoder=partial(ConvEncoder, widths=(4,)))):
            with pytest.raises(
                ConfigError, match=r"`hyper_parameters.task` of .*members.a.* to name a subclass of Task"
            ):
                strategy(MODALITIES, TARGET, members={"a": member, "b": member})
    balance = partial(UMT, teachers={"a": by_file})
    student = IntermediateFusion(MODALITIES, TARGET, ENCODER, training=TrainingConfig(balance=balance))
    with pytest.raises(ConfigError, match=r"`hyper_parameters.task` of .*teachers.a.* to name a subclass of Task"):
        student.balance.begin(student)
    with pytest.raises(SystemExit, match=r"`hyper_parameters.task` of .*members\[0\].* to name a subclass of Task"):
        command("test", "--model=Ensemble", "--model.members=[alone.ckpt]")


@pytest.mark.parametrize("old", ["hparams", "module_arguments"])
def test_keys_of_old_checkpoints_which_lightning_reads_too_are_refused(folder, untouched, old):
    saved = torch.load(folder / "net.ckpt", weights_only=True)
    del saved["hyper_parameters"]["task"]
    torch.save({**saved, old: {"task": SHELL}}, folder / "net.ckpt")
    with pytest.raises(ConfigError, match="to be a checkpoint that fusionlit wrote"):
        IntermediateFusion.load_from_checkpoint(folder / "net.ckpt")


def test_a_file_of_hyperparameters_is_refused(folder, untouched):
    (folder / "hparams.yaml").write_text(
        json.dumps({"task": SHELL, "_instantiator": "lightning.pytorch.cli.instantiate_module"})
    )
    with pytest.raises(ConfigError, match="Expected no `hparams_file`"):
        IntermediateFusion.load_from_checkpoint(folder / "net.ckpt", hparams_file=folder / "hparams.yaml")


@pytest.mark.parametrize(
    "path",
    [
        "subprocess.Popen",  # a class, and imported already
        "torch.distributed.elastic.multiprocessing.subprocess_handler.SubprocessHandler",  # it would run `args`
        "fusionlit.models.trust.sys.modules",
        "fusionlit.tasks.MulticlassClassification",  # of another kind
        "fusionlit.encoders.NoSuchEncoder",
        "torch.load",
        3,
    ],
)
def test_a_class_of_another_kind_is_refused(folder, path):
    tampered(folder / "net.ckpt", {"encoder": {"class_path": path, "init_args": {"args": ["touch", "canary"]}}})
    with pytest.raises(ConfigError, match=r"`hyper_parameters.encoder` of \S+ to name a subclass of Encoder, but got"):
        IntermediateFusion.load_from_checkpoint(folder / "net.ckpt")


def test_a_function_of_an_allowed_package_is_no_factory(folder, untouched):
    run = {"class_path": "torch.utils.collect_env.run", "init_args": {"command": "touch canary"}}
    tampered(folder / "net.ckpt", {"task": run})
    with pytest.raises(ConfigError, match=r"name a subclass of Task, but got 'torch.utils.collect_env.run'"):
        IntermediateFusion.load_from_checkpoint(folder / "net.ckpt")


def test_an_argument_in_the_place_of_the_checkpoints_counts(folder, untouched):
    path = tampered(folder / "net.ckpt", {"training": {"optimizer": SHELL}})
    with path.open("rb") as file:
        loaded = IntermediateFusion.load_from_checkpoint(file, training=TrainingConfig(torch.optim.SGD))
    assert type(loaded.training_setup.make_optimizer(loaded.parameters(), ())) is torch.optim.SGD


class Gate(nn.Module):
    """A part that fusionlit knows nothing of."""

    def __init__(self, size: int, inner: "Gate | None" = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))


class Odd(Gate):
    """Another."""


class Gated(IntermediateFusion):
    """A strategy with parts, kinds of hints and text of its own."""

    def __init__(
        self,
        modalities,
        target: TargetSpec,
        gate: Callable[[int], Gate],
        gates: "dict[str, Callable[[int], Gate]] | list[Callable[[int], Gate]] | None" = None,
        anything: Any = None,
        untyped=None,
        unresolved: "NotHere | None" = None,  # noqa: F821
        mode: Literal["a.b", "c"] = "c",
        file: Path | str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(modalities, target, **options)
        self.gate = gate(4)


def gated(make_trainer, path: Path, **options: Any) -> Path:
    training = TrainingConfig(
        optimizer=partial(torch.optim.SGD, lr=0.1),
        scheduler=partial(torch.optim.lr_scheduler.StepLR, step_size=2),
        balance=partial(UMT, teachers={"a": "a.ckpt"}),
    )
    options = {"gate": Odd, "encoder": ENCODER, "fusion": Concat, "training": training, "mode": "a.b", **options}
    return save(Gated(MODALITIES, TARGET, **options), path, make_trainer)


def test_a_users_own_strategy_keeps_its_own_parts(tmp_path, make_trainer):
    options = {"gates": {"a": partial(Gate, inner=None)}, "untyped": "weights.v1/net.pt", "file": tmp_path / "x.pt"}
    path = gated(make_trainer, tmp_path / "own.ckpt", anything=["x.y"], **options)
    loaded = Gated.load_from_checkpoint(path)
    assert type(loaded.gate) is Odd
    assert isinstance(loaded.balance, UMT)
    assert type(loaded.training_setup.make_optimizer(loaded.parameters(), ())) is torch.optim.SGD


@pytest.mark.parametrize("name", ["gate", "gates", "anything", "untyped", "unresolved", "file", "mode", "options"])
def test_a_users_own_parameter_takes_no_command(tmp_path, monkeypatch, make_trainer, name):
    monkeypatch.chdir(tmp_path)
    path = gated(make_trainer, tmp_path / "own.ckpt")
    for value in (SHELL, [SHELL], {"a": SHELL}, YAML if name not in ("file", "mode") else SHELL):
        tampered(path, {name: value})
        with pytest.raises(ConfigError, match=rf"Expected `hyper_parameters.{name}.*` of \S+ to name"):
            Gated.load_from_checkpoint(path)
    assert not Path("canary").exists()


def test_a_base_is_asked_for_by_the_type_hint(tmp_path, make_trainer):
    path = tampered(gated(make_trainer, tmp_path / "own.ckpt"), {"gate": {"class_path": "torch.nn.Linear"}})
    with pytest.raises(ConfigError, match=r"`hyper_parameters.gate` of \S+ to name a subclass of Gate, but got"):
        Gated.load_from_checkpoint(path)
    tampered(
        path, {"gate": {"class_path": f"{__name__}.Odd", "init_args": {"inner": {"class_path": "torch.nn.Linear"}}}}
    )
    with pytest.raises(ConfigError, match=r"`hyper_parameters.gate.inner` of \S+ to name a subclass of Gate, but got"):
        Gated.load_from_checkpoint(path)


def test_the_command_line_imports_what_the_user_names(folder):
    tampered(folder / "net.ckpt", {"encoder": {"class_path": "stranger.Mine", "init_args": {"widths": [4]}}})
    for named in (["--model.encoder=stranger.Mine", "--model.encoder.widths=[4]"], ["--imports=stranger"]):
        sys.modules.pop("stranger", None)
        command("validate", *named, "--ckpt_path=net.ckpt")
        assert "stranger" in sys.modules
    with pytest.raises(SystemExit, match="Expected `imports` to name modules, but nowhere cannot be imported"):
        command("validate", "--imports=nowhere", "--ckpt_path=net.ckpt")


def test_a_checkpoint_of_before_names_the_same_class_by_its_private_path(folder):
    tampered(folder / "net.ckpt", {"_class_path": "fusionlit.models.intermediate.IntermediateFusion"})
    command("validate", "--ckpt_path=net.ckpt")


PARTS = [
    field
    for field in FIELDS
    if field in ("task", "fusion", "head", "trunk", "encoder") or field.startswith("training.")
]


@pytest.mark.parametrize("field", PARTS)
def test_a_configuration_calls_no_function(folder, untouched, field):
    model = {"class_path": "IntermediateFusion", "init_args": FIELDS[field]}
    (folder / "model.yaml").write_text(json.dumps(model))
    with pytest.raises(SystemExit) as stop:
        command("fit", "--model=model.yaml", "--trainer.fast_dev_run=1")
    assert f"Expected `model.{field}` to be a class, but got <built-in function system>." in str(stop.value)


def test_a_model_of_functions_could_not_be_loaded_so_it_is_not_trained(folder):
    (folder / "mine.py").write_text(
        "from fusionlit.encoders import Encoder, MLPEncoder\n\n"
        "def make(shape) -> Encoder:\n    return MLPEncoder(shape)\n"
    )
    with pytest.raises(SystemExit, match=r"Expected `model.encoder` to be a class, but got <function make at"):
        command("fit", "--model.encoder=mine.make", "--trainer.fast_dev_run=1")


def test_functions_are_refused_where_they_would_be_called():
    named = {"class_path": "shutil.rmtree", "init_args": {"path": "."}}
    with pytest.raises(ConfigError, match=r"Expected `data.parts\[0\]` to be a class, but got <function rmtree"):
        check_configuration({"init_args": {"parts": [named]}}, "data", saved=False)
    check_configuration({"init_args": {"transform": os.getcwd}}, "data", saved=False)  # handed on, and called by nobody
    check_configuration({"encoder": {"class_path": "fusionlit.encoders.MLPEncoder"}}, "model", saved=True)


def test_modules_of_ones_own_are_found_in_a_configuration():
    parts = [{"class_path": "mine.net.Encoder", "init_args": {"x": {"class_path": "torch.nn.ReLU"}}}]
    assert own_modules({"class_path": "fusionlit.models.LateFusion", "init_args": {"parts": parts}}) == ["mine.net"]
