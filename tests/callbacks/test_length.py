"""How long a training is where nobody has said it."""

import logging
from functools import partial
from pathlib import Path

import pytest

from fusionlit.callbacks import TrainingLength
from fusionlit.cli.fusion_cli import FusionCLI
from fusionlit.encoders import MLPEncoder
from fusionlit.errors import ConfigError
from fusionlit.models import TrainingConfig, Unimodal, WarmupCosine

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture
def data(planted):
    return planted()  # four batches an epoch


def train(data, trainer):
    model = Unimodal(
        data.modalities,
        data.target,
        "strong",
        encoder=partial(MLPEncoder, widths=[4]),
        training=TrainingConfig(scheduler=WarmupCosine),
    )
    trainer.fit(model, data)
    return trainer


@pytest.mark.parametrize(
    ("length", "options", "epochs"),
    [
        ({"steps": 11, "epochs": 2}, {}, 3),
        ({"steps": 11, "epochs": 2}, {"accumulate_grad_batches": 3}, 6),
        ({"steps": 11, "epochs": 2}, {"limit_train_batches": 3}, 4),
        ({"steps": 11, "epochs": 5}, {}, 5),
        ({"steps": 1000, "epochs": 2, "most": 3}, {}, 3),
    ],
    ids=str,
)
def test_small_data_gets_its_steps(data, make_trainer, caplog, length, options, epochs):
    with caplog.at_level(logging.INFO):
        trainer = train(data, make_trainer(max_epochs=1, callbacks=[TrainingLength(**length)], **options))
    assert trainer.current_epoch == trainer.max_epochs == epochs
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.0)  # the schedule ends with it
    said = [r.message for r in caplog.records if r.message.startswith("Training")]
    assert said == (
        [] if epochs == length["epochs"] else [s for s in said if s.startswith(f"Training for {epochs} epochs")]
    )
    assert len(said) == (epochs != length["epochs"])


@pytest.mark.parametrize("given", ["", "max_epochs=3", "max_steps=7", "max_time=00:00:01:00"])
def test_the_command_line_adds_it_where_no_length_is_given(planted_signals, given):
    options = [f"--data={CONFIGS}/data/planted_signals.yaml", f"--data.path={planted_signals}", "--model=EarlyFusion"]
    run = FusionCLI(run=False, args=[*options, *([f"--trainer.{given}"] if given else [])])
    added = any(isinstance(callback, TrainingLength) for callback in run.trainer.callbacks)
    assert added == (not given)
    assert given != "max_epochs=3" or run.trainer.max_epochs == 3


def test_nonsense_is_refused():
    with pytest.raises(ConfigError, match="`most` to be at least `epochs`, but got steps=1500, epochs=40, most=10"):
        TrainingLength(most=10)
    with pytest.raises(ConfigError, match="`steps` and `epochs` to be at least 1"):
        TrainingLength(steps=0)
