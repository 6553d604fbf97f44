"""The parser of the command line: what it makes of values, and what its errors say."""

from pathlib import Path
from typing import Optional, Union

import pytest
import torch
from jsonargparse import ActionConfigFile
from lightning import Trainer

from fusionlit.cli.fusion_cli import FusionCLI
from fusionlit.cli.parser import FusionParser
from fusionlit.models import FusionModule

CONFIGS = Path(__file__).parents[2] / "configs"
LIMITS = ("limit_train_batches", "limit_val_batches", "overfit_batches", "val_check_interval", "gradient_clip_val")


def limits(
    limit_train_batches: float | int = 1.0,
    limit_val_batches: Optional[Union[float, int]] = None,  # noqa: UP007, UP045 (of this kind typing keeps one)
    overfit_batches: float | int | str = 0.0,
    val_check_interval: float | int | str | dict[str, int] | None = None,
    gradient_clip_val: int | float | None = None,
    per_sensor: dict[str, float | int] | None = None,
) -> None:
    """Unions with the float first, as Lightning's are for whoever imports Lightning after another of the kind."""


def parser_of(function, key):
    parser = FusionParser()
    parser.add_argument("--config", action=ActionConfigFile)
    if function is Trainer:
        parser.add_lightning_class_args(Trainer, key)
    else:
        parser.add_function_arguments(function, key, sub_configs=True)
    return parser


@pytest.mark.parametrize("function", [limits, Trainer])
@pytest.mark.parametrize("written", ["options", "config", "part"])
@pytest.mark.parametrize(("text", "value"), [("1", 1), ("1.0", 1.0), ("0.5", 0.5)])
def test_whole_numbers_stay_whole_and_others_do_not(tmp_path, function, written, text, value):
    file = tmp_path / "trainer.yaml"
    if written == "options":
        args = [f"--trainer.{name}={text}" for name in LIMITS]
    else:
        lines = "".join(f"  {name}: {text}\n" for name in LIMITS)
        file.write_text(f"trainer:\n{lines}" if written == "config" else lines)
        args = [f"--config={file}"] if written == "config" else [f"--trainer={file}"]
    config = parser_of(function, "trainer").parse_args(args).trainer
    assert [(type(config[name]), config[name]) for name in LIMITS] == [(type(value), value)] * len(LIMITS)


def test_numbers_in_a_mapping_are_kept_too():
    config = parser_of(limits, "of").parse_args(["--of.per_sensor={rgb: 1, lidar: 1.0}"]).of
    assert [type(x) for x in config.per_sensor.values()] == [int, float]


def test_one_batch_is_one_batch(planted_signals):
    data = [f"--data={CONFIGS}/data/planted_signals.yaml", f"--data.path={planted_signals}"]
    trainer = FusionCLI(
        run=False,
        args=[*data, "--model=EarlyFusion", "--trainer.limit_train_batches=1", "--trainer.accelerator=cpu"],
    ).trainer
    assert (type(trainer.limit_train_batches), trainer.limit_train_batches) == (int, 1)


MODEL = ["--model.modalities={rgb: [3, 8, 8], lidar: [4, 8, 8]}", "--model.target={kind: multiclass, size: 2}"]
OWN = "class_path: CentralNet\ninit_args:\n  training:\n    scheduler: WarmupCosine\n    optimizer: "
SGD = "{class_path: SGD, init_args: {lr: 0.2, momentum: 0.9}}"


@pytest.fixture
def made(tmp_path):
    """The training of the model that some options make, and its optimizer."""

    def make(*options, optimizer=None):
        args = ["--model=CentralNet"]
        if optimizer:
            (tmp_path / "model.yaml").write_text(OWN + optimizer)
            args = [f"--model={tmp_path}/model.yaml"]
        parser = FusionParser()
        parser.add_subclass_arguments(FusionModule, "model")
        config = parser.parse_args([*args, *MODEL, *options])
        saved = parser.dump(config)
        for again in (config, parser.parse_string(saved)):
            training = parser.instantiate(again).model.training_setup
            yield training, training.make_optimizer([torch.nn.Parameter(torch.ones(1))], [])

    return make


RATE = "--model.training.optimizer.lr=0.01"


@pytest.mark.parametrize(
    "options",
    [
        [RATE],
        ["--model.init_args.training.optimizer.lr=0.01"],
        ["--model.init_args.training.optimizer.init_args.lr=0.01"],
        ["--model.training={optimizer: {lr: 0.01}}"],
        ["--model.training={optimizer: {init_args: {lr: 0.01}}}"],
        ["--model.training.optimizer=Adam", RATE],
    ],
)
def test_the_rate_of_the_default_optimizer(made, options):
    for _, optimizer in made(*options, "--model.training.optimizer.weight_decay=0.1"):
        assert type(optimizer) is torch.optim.Adam
        assert [optimizer.param_groups[0][name] for name in ("lr", "weight_decay")] == [0.01, 0.1]


@pytest.mark.parametrize(
    ("given", "expected", "momentum"),
    [
        (SGD, torch.optim.SGD, 0.9),
        ("SGD", torch.optim.SGD, 0.0),
        ("AdamW", torch.optim.AdamW, None),
        ("{lr: 0.2}", torch.optim.Adam, None),
    ],
)
def test_the_rate_of_the_optimizer_that_the_models_file_names(made, given, expected, momentum):
    for training, optimizer in made(RATE, "--model.training.scheduler", "null", optimizer=given):
        assert type(optimizer) is expected
        assert [optimizer.param_groups[0].get(name) for name in ("lr", "momentum")] == [0.01, momentum]
        assert training.scheduler is None


@pytest.mark.filterwarnings("ignore:Due to class_path change")
def test_an_optimizer_that_is_named_takes_nothing_from_the_default_one(made):
    for _, optimizer in made("--model.training.optimizer.betas=[0.5, 0.5]", "--model.training.optimizer=SGD", RATE):
        assert type(optimizer) is torch.optim.SGD


@pytest.mark.parametrize(
    ("options", "length"),
    [([], 77), (["--model.training.scheduler.power=2"], 77), (["--model.training.scheduler.total_iters=5"], 5)],
)
def test_a_polynomial_schedule_leaves_its_length_open(made, options, length):
    for training, optimizer in made("--model.training.scheduler=PolynomialLR", *options):
        assert training.make_schedule(optimizer, lambda interval: 77)["scheduler"].total_iters == length


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--model.encodr=ConvEncoder"], ["There is no encodr; did you mean encoder"]),
        (["--model.training.optimizr=SGD"], ["did you mean optimizer?"]),
        (["--model.training={optimizr: SGD}"], ["There is no training.optimizr; did you mean optimizer?"]),
        (["--model.training.optimizer.nesterov=true"], ["There is no nesterov here", "SGD", "Name the class first"]),
        (["--model.training.scheduler.warmup=0.1"], ["There is no warmup here", "argument of WarmupCosine"]),
        (["--model.weights=softmx"], ["Expected one of 'softmax', 'raw', 'sigmoid'"]),
        (["--model.training.frozen_fusion_epochs=x"], ["training.frozen_fusion_epochs:", "Expected a whole number"]),
        (["--model.training.modality_dropout=x"], ["Expected a number", "Expected a mapping"]),
        (["--model.normalize=x"], ["normalize:", "Expected true or false"]),
        (["--model.norm=false"], ["There is no norm"]),
    ],
)
def test_an_error_is_in_plain_words_and_names_an_argument_of_that_class(made, capsys, options, said):
    with pytest.raises(SystemExit):
        next(made(*options))
    error = capsys.readouterr().err
    assert all(words in error for words in said), error
    assert "<class" not in error
    assert "typing." not in error
    assert "did you mean widths" not in error


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--trainer.max_epoch=3", "did you mean max_epochs?"),
        ("--trainer.limit_train=3", "unrecognized arguments: --trainer.limit_train"),
        ("--trainer.max_epochs=many", "Expected a whole number"),
        ("--trainer.deterministic=perhaps", "Expected true or false"),
    ],
)
def test_options_of_the_trainer_are_written_out(capsys, option, said):
    with pytest.raises(SystemExit):
        parser_of(Trainer, "trainer").parse_args([option])
    assert said in capsys.readouterr().err
