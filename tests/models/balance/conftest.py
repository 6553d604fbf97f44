"""One place for the small models, and for what a step did to them."""

from functools import partial

import pytest
import torch
from lightning import seed_everything
from lightning.pytorch.callbacks import Callback

from fusionlit.encoders import ConvEncoder
from fusionlit.models import CentralNet, IntermediateFusion, LateFusion, TrainingConfig

MODELS = {"intermediate": IntermediateFusion, "late": LateFusion, "centralnet": CentralNet}


class Watch(Callback):
    """The parameters and batches that training began with, and the gradients of its first step."""

    def on_train_start(self, trainer, pl_module):
        self.start = {key: value.clone() for key, value in pl_module.state_dict().items()}
        self.batches = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.batches.append(batch)

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        if not hasattr(self, "gradients"):
            self.gradients = {key: p.grad.clone() for key, p in pl_module.named_parameters() if p.grad is not None}


def make_model(data, balance, name="intermediate", **training):
    seed_everything(0, verbose=False)
    alone = {"unimodal_loss_weight": 0.5, "fusion_held_out": 0.0}  # the oracles learn from all samples of a batch
    training = {"optimizer": partial(torch.optim.SGD, lr=0.1), **alone, **training}
    encoder = partial(ConvEncoder, widths=(4, 6), norm="group")
    return MODELS[name](
        data.modalities, data.target, encoder=encoder, training=TrainingConfig(balance=balance, **training)
    )


@pytest.fixture
def small():
    return make_model


@pytest.fixture
def step(make_trainer):
    """Train for some batches; what was seen, and the model as it was before."""

    def run(data, balance, name="intermediate", training=None, **trainer):
        watch = Watch()
        model = make_model(data, balance, name, **training or {})
        trainer = {"max_epochs": 1, "limit_train_batches": 1, "limit_val_batches": 0, **trainer}
        make_trainer(callbacks=[watch], **trainer).fit(model, datamodule=data)
        before = make_model(data, None, name, **training or {})
        before.load_state_dict(watch.start)
        return model, before, watch

    return run
