"""Two processes that lack different modalities train one model, and DDP looks for no unused parameter."""

from functools import partial

import torch
from lightning import Trainer, seed_everything

from fusionlit.encoders import ConvEncoder
from fusionlit.fusion import Bilinear, Concat, CrossModalAttention, GatedFusion
from fusionlit.models import CentralNet, EarlyFusion, IntermediateFusion, LateFusion, TrainingConfig, Unimodal
from tests.conftest import PlantedData
from tests.processes import run_two

STRATEGIES = {
    "centralnet": CentralNet,
    "early": EarlyFusion,
    "intermediate": IntermediateFusion,
    "late": partial(LateFusion, embedding=3, fusion=Concat),
    "gated": partial(IntermediateFusion, fusion=GatedFusion),
    "attention": partial(IntermediateFusion, fusion=partial(CrossModalAttention, width=8)),
    "low rank": partial(IntermediateFusion, fusion=partial(Bilinear, rank=2)),
    "unimodal": partial(Unimodal, modality="noise"),
}
CASES = [(name, missing, p) for missing, p in (("token", 0.0), ("token", 0.5), ("zero", 0.5)) for name in STRATEGIES]


def test_every_strategy_trains_on_two_processes():
    # A parameter that gets its gradient on one process alone leaves that one waiting: then the time runs out.
    first, second = run_two(train_all)
    done = [line for line in first.splitlines() if line.startswith("trained ")]
    assert done == [f"trained {name} {missing} {dropout}" for name, missing, dropout in CASES]
    assert "trained" not in second


class Uneven(PlantedData):
    """The first process gets no presence masks, as if nothing were missing; the second sometimes lacks `noise`."""

    def convert(self, batch):
        self.presence = self.trainer is not None and self.trainer.global_rank == 1
        return super().convert(batch)


def train_all():
    for name, missing, dropout in CASES:
        train(name, missing, dropout, Uneven(size=24, batch_size=4))


def train(name, missing, dropout, data):
    """Three steps; then both processes have the same weights, and nothing that had a part stayed as it was."""
    seed_everything(0, verbose=False)
    encoder = partial(ConvEncoder, widths=(4,))
    weight = 0.0 if name == "unimodal" else 0.5
    training = TrainingConfig(optimizer=torch.optim.SGD, modality_dropout=dropout, unimodal_loss_weight=weight)
    model = STRATEGIES[name](data.modalities, data.target, encoder=encoder, training=training, missing=missing)
    before = {key: p.clone() for key, p in model.named_parameters()}
    quiet = dict.fromkeys(["logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"], False)
    ddp = {"strategy": "ddp", "accelerator": "cpu", "devices": 2}
    trainer = Trainer(max_steps=3, max_epochs=-1, limit_val_batches=0, **ddp, **quiet)
    trainer.fit(model, datamodule=data)
    for key, p in model.named_parameters():
        here, there = trainer.strategy.all_gather(p.detach())
        assert torch.equal(here, there), key
        always_there = dropout == 0 and key.endswith("tokens.strong")
        assert always_there or not torch.equal(p, before[key]), key
    if trainer.is_global_zero:
        print("trained", name, missing, dropout, flush=True)
