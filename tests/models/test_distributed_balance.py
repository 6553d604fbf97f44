"""Two processes balance by the scores of all samples, not each by its own."""

from functools import partial

import torch
from lightning import Trainer, seed_everything
from torch.testing import assert_close

from fusionlit.encoders import ConvEncoder
from fusionlit.models import OGMGE, AMCo, IntermediateFusion, TrainingConfig
from tests.conftest import PlantedData
from tests.processes import run_two

BALANCES = {"OGMGE": partial(OGMGE, noise=False), "AMCo": AMCo}


def test_two_processes_have_the_scores_of_all(tmp_path):
    """Each process has half of the samples; the coefficients are those of one process with all of them."""
    train(tmp_path, devices=1)
    run_two(train, tmp_path, 2)
    for name in BALANCES:
        one, two = (torch.load(tmp_path / f"{name}{devices}.pt", weights_only=True) for devices in (1, 2))
        assert_close(two, one, atol=1e-5, rtol=1e-4)


def train(folder, devices):
    for name, balance in BALANCES.items():
        seed_everything(0, verbose=False)
        # One step over all samples, so that their order, and on which process they are, is no matter.
        data = PlantedData(size=16, batch_size=16 // devices)
        training = TrainingConfig(partial(torch.optim.SGD, lr=0.1), unimodal_loss_weight=0.5, balance=balance)
        encoder = partial(ConvEncoder, widths=(4,), norm="group")
        model = IntermediateFusion(data.modalities, data.target, encoder, training=training)
        quiet = dict.fromkeys(["logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"], False)
        ddp = {"strategy": "ddp" if devices > 1 else "auto", "accelerator": "cpu", "devices": devices}
        trainer = Trainer(max_epochs=1, limit_val_batches=0, **ddp, **quiet)
        trainer.fit(model, datamodule=data)
        if trainer.is_global_zero:
            weights = {key: p.detach().clone() for key, p in model.named_parameters()}
            numbers = {key: torch.tensor(value) for key, value in model.balance.numbers.items()}
            torch.save({**weights, **numbers}, folder / f"{name}{devices}.pt")
