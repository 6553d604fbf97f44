import time
from functools import partial

import numpy as np
import pytest
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Callback

from fusionlit.callbacks import EfficiencyMonitor
from fusionlit.data import ArrayDataModule
from fusionlit.encoders import MLPEncoder
from fusionlit.models import CentralNet, TrainingConfig, Unimodal
from tests.processes import run


class Pace(Callback):
    """Makes every training batch and every validation take a known time at least."""

    def on_train_batch_start(self, trainer, pl_module, *_):
        time.sleep(0.02)

    def on_validation_batch_start(self, trainer, pl_module, *_):
        time.sleep(0.1)

    def on_test_batch_start(self, trainer, pl_module, *_):
        time.sleep(0.02)


@pytest.fixture
def data(planted):
    return planted(size=40)  # batches of 16, 16 and 8


@pytest.fixture
def model(data):
    training = TrainingConfig(fusion_held_out=0)  # of so few samples none may be held out, which is warned of
    return CentralNet(data.modalities, data.target, partial(MLPEncoder, widths=[8, 8]), training=training)


def test_time_and_throughput_of_training(model, data, make_trainer):
    trainer = make_trainer(max_epochs=2, callbacks=[EfficiencyMonitor(), Pace()])
    begin = time.perf_counter()
    trainer.fit(model, data)
    whole = time.perf_counter() - begin
    measured = {name: x.item() for name, x in trainer.callback_metrics.items() if name.startswith("efficiency/")}
    # An epoch has three training batches of 0.02 s and three of validation of 0.1 s at least.
    assert 0.36 <= measured["efficiency/epoch_seconds"] < whole
    training = 40 / measured["efficiency/samples_per_second"]
    assert 0.06 <= training <= measured["efficiency/epoch_seconds"] - 0.3


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("validates", [True, False])
def test_what_callbacks_do_after_an_epoch_is_not_in_its_time(model, data, make_trainer, first, validates):
    class Draws(Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            self.begin = time.perf_counter()

        def on_train_epoch_end(self, trainer, pl_module):
            self.epoch = time.perf_counter() - self.begin
            time.sleep(0.2)

    draws, monitor = Draws(), EfficiencyMonitor()
    callbacks = [draws, monitor] if first else [monitor, draws]
    trainer = make_trainer(callbacks=callbacks, limit_val_batches=None if validates else 0)
    trainer.fit(model, data)
    measured = trainer.callback_metrics["efficiency/epoch_seconds"].item()
    assert 0 < measured < draws.epoch + 0.1  # the other's clock may have begun a little later
    assert trainer.callback_metrics["efficiency/samples_per_second"].item() >= 40 / (draws.epoch + 0.1)


def test_an_epoch_that_is_cut_off_has_its_time(model, data, make_trainer):
    trainer = make_trainer(max_steps=1, callbacks=[EfficiencyMonitor(), Pace()])
    trainer.fit(model, data)
    assert trainer.callback_metrics["efficiency/epoch_seconds"].item() >= 0.02
    assert 0 < trainer.callback_metrics["efficiency/samples_per_second"].item() <= 16 / 0.02


@pytest.mark.filterwarnings("ignore:This CentralNet has never been trained")
def test_a_test_reports_its_costs(model, data, make_trainer):
    (result,) = make_trainer(callbacks=[EfficiencyMonitor(), Pace()]).test(model, data, verbose=False)
    measured = {name: x for name, x in result.items() if name.startswith("efficiency/")}
    assert list(measured) == [
        "efficiency/test_samples_per_second",
        "efficiency/parameters",
        "efficiency/trainable_parameters",
        "efficiency/peak_host_memory_mb",
    ]
    assert measured["efficiency/test_samples_per_second"] <= 40 / 0.06


@pytest.mark.filterwarnings("ignore:This CentralNet has never been trained")
def test_parameters_are_counted_exactly_above_the_digits_of_float32(model, data, make_trainer):
    model.frozen = torch.nn.Parameter(torch.zeros(2**24 + 1, dtype=torch.bfloat16), requires_grad=False)
    trainable = sum(p.numel() for name, p in model.named_parameters() if name != "frozen")
    (result,) = make_trainer(callbacks=[EfficiencyMonitor()]).test(model, data, verbose=False)
    assert result["efficiency/trainable_parameters"] == trainable
    assert result["efficiency/parameters"] == trainable + 2**24 + 1


class Allocate(Callback):
    """Holds 200 MB while the loss is computed, and frees them before the step ends."""

    def on_train_batch_start(self, trainer, pl_module, *_):
        pl_module.ballast = torch.ones(50_000_000)

    def on_train_batch_end(self, trainer, pl_module, *_):
        del pl_module.ballast


def peak(path, *others):
    data = ArrayDataModule(path)
    model = Unimodal(data.modalities, data.target, "x")
    quiet = dict.fromkeys(["logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"], False)
    trainer = Trainer(max_epochs=1, accelerator="cpu", callbacks=[EfficiencyMonitor(), *others], **quiet)
    trainer.fit(model, datamodule=data)
    return trainer.callback_metrics["efficiency/peak_host_memory_mb"].item()


def print_peaks(path):
    peak(path)  # what is imported and kept by the first run of all
    print("\npeaks", peak(path), peak(path, Allocate()), peak(path))


def test_peak_memory_sees_what_is_held_during_the_forward_pass(tmp_path):
    """In a process of its own: what other tests have left behind goes whenever it likes."""
    x = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x, target=np.arange(60) % 2)
    said = run(print_peaks, tmp_path / "data.npz", folder=tmp_path)
    (line,) = [line for line in said.splitlines() if line.startswith("peaks ")]
    before, holding, after = map(float, line.split()[1:])
    assert holding - before == pytest.approx(200, abs=40)
    assert after - before == pytest.approx(0, abs=40)
