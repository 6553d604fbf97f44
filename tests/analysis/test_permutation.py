"""Permutation importance against a model whose needs are known."""

from functools import partial

import pytest
import torch
from lightning import seed_everything
from lightning.pytorch.loggers import CSVLogger

from fusionlit.analysis import permutation_importance
from fusionlit.callbacks import PermutationLogger
from fusionlit.encoders import ConvEncoder
from fusionlit.models import CentralNet, TrainingConfig, Unimodal

encoder = partial(ConvEncoder, widths=(4, 8))
adam = TrainingConfig(optimizer=partial(torch.optim.Adam, lr=0.01))


@pytest.fixture
def trained(planted, make_trainer):
    seed_everything(0, verbose=False)
    data = planted(size=128)
    model = Unimodal(data.modalities, data.target, "strong", encoder, training=adam)
    make_trainer(max_epochs=4).fit(model, datamodule=data)
    return model, data


def test_only_what_the_model_uses_is_worth_anything(trained):
    model, data = trained
    importance = permutation_importance(model, data)
    assert importance.metrics["accuracy"] > 0.9
    assert importance.drop["strong"]["accuracy"] > 0.3
    assert importance.drop["noise"] == dict.fromkeys(importance.metrics, 0.0)


def test_the_drop_is_that_of_a_permutation_without_fixed_points(trained):
    """By hand: the same cycle, with all samples in one batch."""
    model, data = trained
    inputs, label = data.dataset("val").inputs, data.dataset("val").target
    cycle = torch.randperm(128, generator=torch.Generator().manual_seed(3)).tolist()
    partner = {sample: cycle[k - 1] for k, sample in enumerate(cycle)}
    assert all(sample != other for sample, other in partner.items())
    order = [partner[sample] for sample in range(128)]
    model.eval()
    hits = [
        (model({**inputs, "strong": x}).prediction.argmax(1) == label).double().mean().item()
        for x in (inputs["strong"], inputs["strong"][order])
    ]
    importance = permutation_importance(model, data, seed=3)
    assert importance.drop["strong"]["accuracy"] == pytest.approx(hits[0] - hits[1], abs=1e-6)


def test_every_module_keeps_its_mode(trained):
    model, data = trained
    model.train().encoder.eval()
    before = {name: module.training for name, module in model.named_modules()}
    permutation_importance(model, data)
    assert {name: module.training for name, module in model.named_modules()} == before


def test_an_absent_modality_goes_with_its_presence(planted):
    seed_everything(0, verbose=False)
    data = planted(size=30, presence=True)
    model = CentralNet(data.modalities, data.target, encoder)
    importance = permutation_importance(model, data)
    assert all(value == value for drops in importance.drop.values() for value in drops.values())


def test_the_callback_logs_after_validation_and_test_runs_only(trained, make_trainer, tmp_path):
    model, data = trained
    logger = CSVLogger(tmp_path)
    trainer = make_trainer(callbacks=[PermutationLogger()], logger=logger, max_epochs=1, log_every_n_steps=1)
    trainer.fit(model, datamodule=data)
    assert "permutation" not in (tmp_path / "lightning_logs/version_0/metrics.csv").read_text()
    trainer.validate(model, datamodule=data, verbose=False)
    trainer.test(model, datamodule=data, verbose=False)
    logger.save()
    text = (tmp_path / "lightning_logs/version_0/metrics.csv").read_text()
    assert "permutation/strong/accuracy" in text
