import re
from functools import partial
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from fusionlit.callbacks import BestCheckpoint, SmoothedMetric
from fusionlit.encoders import MLPEncoder
from fusionlit.errors import ConfigError
from fusionlit.models import Unimodal

CONFIGS = Path(__file__).parents[2] / "configs"
PLANTED = [5.0, 1.0, 6.0, 3.0, 2.0, 3.0, 4.0]
"""The least is epoch 1, by luck; the mean of three is least at epoch 5."""


class Planted(Callback):
    """Logs a known value at each validation."""

    def on_validation_epoch_start(self, trainer, pl_module):
        pl_module.log("val/planted", torch.tensor(100.0 if trainer.sanity_checking else PLANTED[trainer.current_epoch]))


class History(Callback):
    def __init__(self):
        self.smoothed = []

    def on_validation_end(self, trainer, pl_module):
        if not trainer.sanity_checking:
            self.smoothed.append(trainer.callback_metrics["val/planted_smoothed"].item())


@pytest.fixture
def data(planted):
    return planted(size=16)


@pytest.fixture
def train(data, make_trainer):
    def fit(window, epochs=7, ckpt_path=None):
        best = BestCheckpoint(filename="best", monitor="val/planted_smoothed", enable_version_counter=False)
        history = History()
        callbacks = [history, Planted(), best, SmoothedMetric("val/planted", window)]
        trainer = make_trainer(max_epochs=epochs, enable_checkpointing=True, callbacks=callbacks)
        model = Unimodal(data.modalities, data.target, "strong", encoder=partial(MLPEncoder, widths=[4]))
        trainer.fit(model, data, ckpt_path=ckpt_path)
        return trainer, history.smoothed

    return fit


def means(window):
    return [sum(part) / len(part) for part in (PLANTED[max(0, i + 1 - window) : i + 1] for i in range(len(PLANTED)))]


@pytest.mark.parametrize(("window", "epoch"), [(1, 1), (3, 5)])
def test_the_checkpoint_is_of_the_least_mean(train, window, epoch):
    trainer, smoothed = train(window)
    assert smoothed == pytest.approx(means(window))
    assert torch.load(trainer.checkpoint_callback.best_model_path, weights_only=True)["epoch"] == epoch


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
def test_a_resumed_run_goes_on_with_its_values(train, tmp_path):
    trainer, _ = train(3, epochs=4)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    trainer, smoothed = train(3, ckpt_path=tmp_path / "last.ckpt")
    assert smoothed == pytest.approx(means(3)[4:])
    assert torch.load(trainer.checkpoint_callback.best_model_path, weights_only=True)["epoch"] == 5


def test_a_second_training_begins_anew(data, make_trainer):
    smoothed = SmoothedMetric(window=2)
    for _ in range(2):
        model = Unimodal(data.modalities, data.target, "strong", encoder=partial(MLPEncoder, widths=[4]))
        trainer = make_trainer(callbacks=[smoothed])
        trainer.fit(model, data)
        assert trainer.callback_metrics["val/loss_smoothed"] == trainer.callback_metrics["val/loss"]
    (result,) = trainer.validate(model, data, verbose=False)
    assert "val/loss_smoothed" not in result


def test_what_is_not_logged_is_refused(data, make_trainer):
    model = Unimodal(data.modalities, data.target, "strong", encoder=partial(MLPEncoder, widths=[4]))
    said = "Expected `metric` to be logged in validation (one of ['val/accuracy', 'val/balanced_accuracy',"
    said += " 'val/calibration_error', 'val/f1'"
    with pytest.raises(ConfigError, match=re.escape(said) + r".*but got 'val/lost'\."):
        make_trainer(callbacks=[SmoothedMetric("val/lost")]).fit(model, data)
    with pytest.raises(ConfigError, match="Expected `window` to be at least 1, but got 0"):
        SmoothedMetric(window=0)


def test_the_command_line_monitors_it(fusionlit, tmp_path, planted_signals):
    files = [f"--data={CONFIGS}/data/planted_signals.yaml", f"--data.path={planted_signals}"]
    options = ["--trainer.max_epochs=2", "--trainer.logger=false", "--checkpoint.monitor=val/loss_smoothed"]
    fusionlit("fit", *files, "--model=IntermediateFusion", *options, "--trainer.callbacks+=SmoothedMetric")
    saved = torch.load(tmp_path / "checkpoints" / "best.ckpt", weights_only=True)
    best = saved["callbacks"]["BestCheckpoint[best]"]
    values = saved["callbacks"]["SmoothedMetric[val/loss]"]["values"]
    assert best["best_model_score"].item() == pytest.approx(sum(values) / len(values))
