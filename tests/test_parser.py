"""The parser of the command line: what it makes of values, and what its errors say."""

from pathlib import Path
from typing import Optional, Union

import pytest
from jsonargparse import ActionConfigFile
from lightning import Trainer

from fusionlit.build import FusionCLI
from fusionlit.parser import FusionParser

CONFIGS = Path(__file__).parents[1] / "configs"
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
