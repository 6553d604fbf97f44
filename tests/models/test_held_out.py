"""Fusion weights that learn from samples of their own."""

import re
from functools import partial

import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.testing import assert_close

from fusionlit.encoders import ConvEncoder, MLPEncoder
from fusionlit.errors import ConfigError
from fusionlit.models import (
    OGMGE,
    UMT,
    CentralNet,
    IntermediateFusion,
    LateFusion,
    MMPareto,
    TrainingConfig,
    Unimodal,
)
from fusionlit.models.held_out import is_held_out
from fusionlit.types import TargetSpec

SHARE = 0.3
SHAPES = {"a": (3, 16), "b": (3, 16)}


def batch_of(size, *, presence=False, begin=0):
    torch.manual_seed(1)
    batch = {
        "inputs": {name: torch.randn(size, *shape) for name, shape in SHAPES.items()},
        "target": torch.arange(size) % 4,
        "index": torch.arange(begin, begin + size),
    }
    return {**batch, "presence": {"a": torch.arange(size) % 3 > 0}} if presence else batch


def network(monkeypatch, **training):
    torch.manual_seed(0)
    encoder = partial(ConvEncoder, widths=(4, 6), norm="batch")
    model = CentralNet(
        SHAPES, TargetSpec("multiclass", 4), encoder, training=TrainingConfig(**training), normalize=False
    )
    for method in ("log", "log_dict"):
        monkeypatch.setattr(model, method, lambda *_, **__: None)
    return model


def gradients(model, batch, scale=1.0):
    model.train()
    model.zero_grad()
    model.backward(model.training_step(batch, 0) * scale)
    return {name: p.grad for name, p in model.named_parameters()}


def expected(model, batch, held):
    """Two plain backward passes: one for the fusion weights, one for everything else."""
    own = {id(p) for layer in model.fusion_layers().values() for p in layer.fusion_parameters()}
    there = batch.get("presence", {})
    found = {}
    for part in (held, ~held):
        model.zero_grad()
        output = model(batch["inputs"], batch.get("presence"))
        loss = cross_entropy(output.prediction[part], batch["target"][part])
        for name, prediction in output.unimodal.items():
            has = part & there.get(name, torch.ones_like(part))
            loss = loss + cross_entropy(prediction[has], batch["target"][has])
        if part is held:
            loss = cross_entropy(output.prediction[part], batch["target"][part])
        loss.backward()
        wanted = {n: p.grad.clone() for n, p in model.named_parameters() if (id(p) in own) == (part is held)}
        found |= wanted
    return found


@pytest.mark.parametrize("presence", [False, True])
@pytest.mark.parametrize("scale", [1.0, 1024.0])
def test_each_part_learns_from_its_own_samples(monkeypatch, presence, scale):
    batch = batch_of(40, presence=presence)
    held = is_held_out(batch["index"], SHARE)
    assert 0 < held.sum() < 40
    model = network(monkeypatch, fusion_held_out=SHARE)
    found = gradients(model, batch, scale)
    wanted = expected(network(monkeypatch), batch, held)
    assert found.keys() == wanted.keys()
    assert_close(found, {name: scale * gradient for name, gradient in wanted.items()}, atol=1e-6 * scale, rtol=1e-4)


@pytest.mark.parametrize("scale", [1.0, 1024.0, 0.25])
def test_the_scale_is_kept_where_nothing_else_learns(monkeypatch, scale):
    batch = {**batch_of(2), "index": torch.zeros(2, dtype=torch.int64)}
    assert is_held_out(batch["index"], SHARE).all()
    found = gradients(network(monkeypatch, fusion_held_out=SHARE), batch, scale)
    alone = gradients(network(monkeypatch, fusion_held_out=SHARE), batch)
    assert alone["fusions.stage1.weight"].any()
    for name, gradient in found.items():
        assert_close(gradient, scale * alone[name], atol=1e-6 * scale, rtol=1e-4)
        assert name.startswith("fusions.") or not gradient.any()


def test_gradients_add_up_over_batches(monkeypatch):
    model = network(monkeypatch, fusion_held_out=SHARE)
    one = {name: gradient.clone() for name, gradient in gradients(model, batch_of(40)).items()}
    model.backward(model.training_step(batch_of(40), 0))
    for name, parameter in model.named_parameters():
        assert_close(parameter.grad, 2 * one[name], atol=1e-5, rtol=1e-4)


def test_the_weights_rest_where_no_sample_is_held_out(monkeypatch):
    batch = batch_of(3, begin=6)
    assert not is_held_out(batch["index"], 0.1).any()
    model = network(monkeypatch, fusion_held_out=0.1)
    found = gradients(model, batch)
    for layer in model.fusion_layers().values():
        for parameter in layer.fusion_parameters():
            assert not parameter.grad.any()
    assert found["central_head.layers.1.weight"].any()


@pytest.mark.parametrize("balance", [partial(OGMGE, noise=False), MMPareto])
def test_a_balance_leaves_the_weights_to_their_samples(monkeypatch, planted, make_trainer, balance):
    data = planted()
    seen = []

    class Watch(CentralNet):
        def on_before_optimizer_step(self, optimizer):
            own = [p.grad.clone() for layer in self.fusion_layers().values() for p in layer.fusion_parameters()]
            seen.append(own)

    for chosen in (None, balance):
        torch.manual_seed(0)
        training = TrainingConfig(fusion_held_out=SHARE, balance=chosen)
        model = Watch(data.modalities, data.target, partial(ConvEncoder, widths=(4,)), training=training)
        make = make_trainer(max_steps=1, max_epochs=1, limit_val_batches=0)
        torch.manual_seed(0)
        make.fit(model, data)
    assert_close(seen[1], seen[0])


def test_what_is_held_out_is_spread_evenly():
    index = torch.arange(12_000)
    for share in (0.05, 0.1, 0.5):
        held = is_held_out(index, share)
        for every in (1, 2, 3, 5, 10):  # classes often come in turn
            for first in range(every):
                assert held[first::every].float().mean().item() == pytest.approx(share, abs=0.01)
    assert torch.equal(is_held_out(torch.tensor([5, 6], dtype=torch.int32), 0.1), torch.tensor([True, False]))
    assert not is_held_out(index, 0.0).any()


def test_weights_learn_what_generalises(make_trainer, memory):
    """Sensor `a` knows the label in 9 of 10 samples; `b` is a name of each sample, which can only be learned by heart.

    On the samples that the heads have learned, `b` is always right, and the average goes to it.
    """
    shares = {}
    for held_out in (0.0, 0.2):
        torch.manual_seed(0)
        training = TrainingConfig(partial(torch.optim.Adam, lr=3e-3), fusion_lr_mult=10, fusion_held_out=held_out)
        model = LateFusion(
            memory.modalities, memory.target, partial(MLPEncoder, widths=[64]), training=training, normalize=False
        )
        make_trainer(max_epochs=40).fit(model, memory)
        weights = model.fusion_weights()["prediction"]
        shares[held_out] = weights["b"].item()
    assert shares[0.0] > 0.5
    assert shares[0.2] < 0.2


@pytest.fixture
def memory(tmp_path):
    import numpy as np

    from fusionlit.data import ArrayDataModule

    rng = np.random.default_rng(0)
    target = rng.integers(0, 2, 400)
    seen = np.where(rng.random(400) < 0.9, target, 1 - target)
    a = np.stack([seen * 2.0 - 1, np.ones(400)], 1).astype(np.float32)
    b = rng.standard_normal((400, 256)).astype(np.float32)
    np.savez(tmp_path / "memory.npz", a=a, b=b, target=target)
    return ArrayDataModule(tmp_path / "memory.npz", batch_size=64)


def test_the_penalty_goes_with_the_weights(monkeypatch):
    batch = batch_of(40)
    found = []
    for factor in (0.0, 0.5):
        torch.manual_seed(0)
        training = TrainingConfig(fusion_held_out=SHARE, fusion_l1=factor)
        encoder = partial(ConvEncoder, widths=(4,))
        model = CentralNet(SHAPES, TargetSpec("multiclass", 4), encoder, weights="raw", training=training)
        monkeypatch.setattr(model, "log", lambda *_, **__: None)
        monkeypatch.setattr(model, "log_dict", lambda *_, **__: None)
        found.append(gradients(model, batch))
    own = [n for n in found[0] if n.startswith("fusions.")]
    assert own
    for name in found[0]:
        assert_close(found[1][name], found[0][name] + (0.5 if name in own else 0.0))


def test_nonsense_is_refused(planted, make_trainer):
    with pytest.raises(ConfigError, match=re.escape("Expected `fusion_held_out` to be a share in [0, 1), but got 1")):
        TrainingConfig(fusion_held_out=1)
    data = planted()
    model = IntermediateFusion(data.modalities, data.target, training=TrainingConfig(fusion_held_out=0.1))
    with pytest.raises(ConfigError, match=r"Expected trainable fusion weights .* has none. Set it to 0"):
        make_trainer().fit(model, data)


def test_weights_that_are_not_trained_need_no_samples(planted, make_trainer):
    data = planted()
    model = CentralNet(data.modalities, data.target, partial(ConvEncoder, widths=(4,)))
    for layer in model.fusion_layers().values():
        for parameter in layer.fusion_parameters():
            parameter.requires_grad_(False)
    make_trainer().fit(model, data)
    assert model.held_out == 0


def test_weights_that_have_no_samples_are_said(planted, make_trainer):
    class FromOne(planted):
        def convert(self, batch):
            return super().convert({**batch, "index": batch["index"] + 1})

    data = FromOne()
    training = TrainingConfig(fusion_held_out=1e-6)
    model = CentralNet(data.modalities, data.target, partial(ConvEncoder, widths=(4,)), training=training)
    with pytest.warns(UserWarning, match="None of the training samples was held out"):
        make_trainer(max_epochs=2).fit(model, data)


def test_teachers_leave_held_out_samples_alone(planted, make_trainer, tmp_path):
    data = planted()
    encoder = partial(ConvEncoder, widths=(4,))
    trainer = make_trainer(enable_checkpointing=True)
    trainer.fit(Unimodal(data.modalities, data.target, "strong", encoder), data)
    trainer.save_checkpoint(tmp_path / "teacher.ckpt")
    balance = partial(UMT, teachers={"strong": str(tmp_path / "teacher.ckpt")})
    seen = []

    class Watch(CentralNet):
        def on_before_optimizer_step(self, optimizer):
            seen.append(max(p.grad.abs().max().item() for p in self.encoders["strong"].parameters()))

    for share in (1 - 1e-9, 0.0):  # all samples, none
        training = TrainingConfig(fusion_held_out=share, balance=balance)
        model = Watch(data.modalities, data.target, encoder, training=training)
        make_trainer(limit_train_batches=1, limit_val_batches=0).fit(model, data)
    assert seen[0] == 0
    assert seen[1] > 0
