import csv
import logging
from functools import partial
from pathlib import Path

import pytest
from lightning.pytorch.loggers import CSVLogger

from fusionlit.callbacks import LoggingInterval
from fusionlit.encoders import MLPEncoder
from fusionlit.models import Unimodal

SAID = "`log_every_n_steps` is {} instead of {}, the number of optimizer steps per epoch"
CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture
def data(planted):
    return planted()  # four batches an epoch


@pytest.fixture
def model(data):
    return Unimodal(data.modalities, data.target, "strong", encoder=partial(MLPEncoder, widths=[4]))


def logged_steps(folder):
    with (Path(folder) / "metrics.csv").open() as file:
        return [int(row["step"]) for row in csv.DictReader(file) if row.get("train/loss_step")]


class Logging(Unimodal):
    """Logs a value at every step that the trainer logs."""

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        self.log("train/loss_step", loss)
        return loss


@pytest.mark.parametrize(
    ("options", "interval", "steps"),
    [
        ({}, 4, [3, 7, 11]),
        ({"accumulate_grad_batches": 3}, 2, [1, 3, 5]),
        ({"limit_train_batches": 3}, 3, [2, 5, 8]),
        ({"log_every_n_steps": 2}, 2, [1, 3, 5, 7, 9, 11]),
    ],
    ids=str,
)
def test_short_epochs_are_logged(data, make_trainer, tmp_path, caplog, options, interval, steps):
    """Warnings are errors here, Lightning's own one among them."""
    logger = CSVLogger(tmp_path)
    model = Logging(data.modalities, data.target, "strong", encoder=partial(MLPEncoder, widths=[4]))
    trainer = make_trainer(max_epochs=3, callbacks=[LoggingInterval()], logger=logger, **options)
    with caplog.at_level(logging.INFO):
        trainer.fit(model, data)
    assert trainer.log_every_n_steps == interval
    assert logged_steps(logger.log_dir) == steps
    said = [record.message for record in caplog.records if "log_every_n_steps" in record.message]
    assert len(said) == (options.get("log_every_n_steps") is None)
    assert all(message.startswith(SAID.format(interval, 50)) for message in said)


def test_a_second_training_begins_from_the_usual_interval(planted, model, data, make_trainer, tmp_path):
    trainer = make_trainer(callbacks=[LoggingInterval()], logger=CSVLogger(tmp_path))
    trainer.fit(model, data)
    assert trainer.log_every_n_steps == 4
    trainer.fit_loop.max_epochs = 2
    trainer.fit(model, planted(size=96))
    assert trainer.log_every_n_steps == 6


def test_what_is_typed_stays(fusionlit, tmp_path, planted_signals):
    files = [f"--data={CONFIGS}/data/planted_signals.yaml", f"--data.path={planted_signals}"]
    fit = partial(fusionlit, "fit", *files, "--model=IntermediateFusion", "--trainer.max_epochs=1")
    fit(f"--trainer.default_root_dir={tmp_path / 'open'}")
    with pytest.warns(UserWarning, match=r"smaller than the logging interval Trainer\(log_every_n_steps=40\)"):
        fit(f"--trainer.default_root_dir={tmp_path / 'typed'}", "--trainer.log_every_n_steps=40")
