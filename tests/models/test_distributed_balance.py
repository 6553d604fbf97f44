"""Two processes balance by the scores of all samples, not each by its own."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import torch
from torch.testing import assert_close

from fusionlit.models import OGMGE, AMCo, IntermediateFusion, TrainingConfig


def test_two_processes_have_the_scores_of_all(tmp_path):
    """Each process has half of the samples; the coefficients are those of one process with all of them."""
    tests = Path(__file__).parents[1]
    path = os.pathsep.join([str(tests), str(tests.parent), os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    command = [sys.executable, __file__, str(tmp_path)]
    run = subprocess.run(command, env=env, timeout=280, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    for name in ("OGMGE", "AMCo"):
        one, two = (torch.load(tmp_path / f"{name}{devices}.pt", weights_only=True) for devices in (1, 2))
        assert_close(two, one, atol=1e-5, rtol=1e-4)


if __name__ == "__main__":
    from conftest import PlantedData  # in the folder above
    from lightning import Trainer, seed_everything

    from fusionlit.encoders import ConvEncoder

    for devices, name, balance in [
        (devices, name, balance)
        for devices in (1, 2)
        for name, balance in (("OGMGE", partial(OGMGE, noise=False)), ("AMCo", AMCo))
    ]:
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
            torch.save({**weights, **numbers}, Path(sys.argv[1]) / f"{name}{devices}.pt")
