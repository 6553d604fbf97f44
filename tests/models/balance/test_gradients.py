"""OGM-GE and MMPareto change the encoders' gradients as said, and no others."""

import math
from functools import partial

import pytest
import torch
from torch.testing import assert_close

from fusionlit.errors import ConfigError
from fusionlit.functional import pareto_gradient
from fusionlit.models import OGMGE, EarlyFusion, LateFusion, MMPareto, TrainingConfig, Unimodal


def losses(model, batch):
    """The multimodal loss and the weighted unimodal ones, as the README has them."""
    output = model(batch["inputs"], batch.get("presence"))
    target, presence = batch["target"], batch.get("presence", {})
    alone = {
        name: model.unimodal_weights[name] * model.task.loss(said, target, presence.get(name))
        for name, said in output.unimodal.items()
    }
    return model.task.loss(output.prediction, target), alone, output


def gradients(loss, model):
    named = dict(model.named_parameters())
    found = torch.autograd.grad(loss, list(named.values()), retain_graph=True, materialize_grads=True)
    return dict(zip(named, found, strict=True))


def encoder_of(key):
    return key.split(".")[1] if key.startswith("encoders.") else None


@pytest.mark.parametrize("name", ["intermediate", "late", "centralnet"])
@pytest.mark.parametrize("kind", ["multiclass", "regression"])
def test_ogm_slows_down_the_encoder_that_is_ahead(planted, step, name, kind):
    data = planted(kind, presence=True)
    model, before, seen = step(data, partial(OGMGE, alpha=0.4, noise=False), name)
    joint, alone, output = losses(before, seen.batches[0])
    plain = gradients(joint + sum(alone.values()), before)
    target, there = seen.batches[0]["target"], seen.batches[0]["presence"]
    scores = {}
    for modality, said in output.unimodal.items():
        if kind == "regression":
            scores[modality] = 1 / (said - target).square().mean(1)[there[modality]].mean().item()
        else:
            scores[modality] = said.softmax(1)[torch.arange(len(said)), target][there[modality]].mean().item()
    strong, noise = scores["strong"], scores["noise"]
    ratios = {"strong": strong / noise, "noise": noise / strong, None: 0.0}
    factors = {key: 1 - math.tanh(0.4 * rho) if rho > 1 else 1.0 for key, rho in ratios.items()}
    assert sorted(factors.values())[0] < 0.7
    assert_close(seen.gradients, {key: factors[encoder_of(key)] * grad for key, grad in plain.items()})
    assert model.balance.numbers == pytest.approx({name: factors[name] for name in ("strong", "noise")}, rel=1e-4)


def test_noise_goes_to_the_encoders_alone(planted, step):
    data = planted()
    _, _, quiet = step(data, partial(OGMGE, noise=False))
    _, _, noisy = step(data, OGMGE)
    for key, gradient in quiet.gradients.items():
        changed = not torch.equal(gradient, noisy.gradients[key])
        assert changed == (encoder_of(key) is not None and gradient.numel() > 1), key


def test_ogm_stops_after_its_epochs(planted, step):
    data = planted()
    model, before, seen = step(data, partial(OGMGE, epochs=0))
    joint, alone, _ = losses(before, seen.batches[0])
    assert_close(seen.gradients, gradients(joint + sum(alone.values()), before))
    assert model.balance.numbers == {}


def combined(model, batch, gamma):
    joint, alone, _ = losses(model, batch)
    every, conflicts = gradients(joint + sum(alone.values()), model), {}
    for name, loss in alone.items():
        own = gradients(loss, model)
        keys = [key for key in own if encoder_of(key) == name]
        rest = [every[key] - own[key] for key in keys]
        h, _, conflicts[name] = pareto_gradient(rest, [own[key] for key in keys], gamma)
        every |= dict(zip(keys, h, strict=True))
    return every, conflicts


@pytest.mark.parametrize("name", ["intermediate", "late", "centralnet"])
def test_pareto_combines_the_gradients_of_each_encoder(planted, step, name):
    data = planted(presence=True)
    model, before, seen = step(data, partial(MMPareto, gamma=2.0), name)
    expected, conflicts = combined(before, seen.batches[0], 2.0)
    assert_close(seen.gradients, expected, atol=1e-6, rtol=1e-4)
    assert model.balance.numbers == {name: float(conflict) for name, conflict in conflicts.items()}


def test_pareto_accumulates_and_is_clipped(planted, step):
    data = planted()
    trainer = {"accumulate_grad_batches": 2, "limit_train_batches": 2, "gradient_clip_val": 0.01}
    model, before, seen = step(data, MMPareto, **trainer)
    first, second = (combined(before, batch, 1.5)[0] for batch in seen.batches)
    mean = {key: (first[key] + second[key]) / 2 for key in first}
    assert_close(seen.gradients, mean, atol=1e-6, rtol=1e-4)
    norm = torch.stack([gradient.norm() for gradient in mean.values()]).norm()
    assert norm > 0.01
    for key, p in model.named_parameters():
        if not key.startswith("fusion"):
            assert_close(p.detach(), seen.start[key] - 0.1 * mean[key] * 0.01 / norm, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("balance", [MMPareto, partial(OGMGE, noise=False)])
def test_scaled_losses_give_scaled_gradients(planted, small, make_trainer, balance):
    """As half precision with a scaler has them."""
    data = planted()
    model = small(data, balance)
    make_trainer(limit_train_batches=1, limit_val_batches=0).fit(model, datamodule=data)
    batch = data.convert(next(iter(data.train_dataloader())))
    model.log = model.log_dict = lambda *_, **__: None
    found = []
    for scale in (1.0, 1024.0):
        model.zero_grad()
        model.backward(scale * model.training_step(batch, 0))
        found.append({key: p.grad / scale for key, p in model.named_parameters()})
    assert_close(found[0], found[1], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(
    ("balance", "message"),
    [
        (OGMGE, "OGMGE changes the gradients of each modality's own encoder, `encoders[name]`, but EarlyFusion has"),
        (MMPareto, "MMPareto changes the gradients of each modality's own encoder"),
    ],
)
def test_a_shared_encoder_is_refused(planted, make_trainer, balance, message):
    data = planted()
    training = TrainingConfig(unimodal_loss_weight=1.0, balance=balance)
    with pytest.raises(ConfigError) as caught:
        make_trainer().fit(EarlyFusion(data.modalities, data.target, training=training), datamodule=data)
    assert message in str(caught.value)


@pytest.mark.parametrize("balance", [OGMGE, MMPareto])
def test_missing_heads_are_refused(planted, balance):
    data = planted()
    message = r"needs the unimodal head of every modality, but \['noise'\] have none: set `training.unimodal_loss_wei"
    with pytest.raises(ConfigError, match=message):
        LateFusion(
            data.modalities, data.target, training=TrainingConfig(unimodal_loss_weight={"strong": 1}, balance=balance)
        )
    with pytest.raises(ConfigError, match="needs the unimodal head of every modality"):
        Unimodal(data.modalities, data.target, "strong", training=TrainingConfig(balance=balance))


def test_what_pareto_cannot_do_is_refused(planted, small, make_trainer):
    data = planted()
    with pytest.raises(ConfigError, match=r"MMPareto needs two backward passes .* leave out `training.compile_mode`"):
        make_trainer().fit(small(data, MMPareto, compile_mode="default"), datamodule=data)
    model = small(data, MMPareto)
    model._trainer = make_trainer(devices=2, strategy="ddp")
    with pytest.raises(ConfigError, match="MMPareto trains in one process, but the trainer has 2"):
        model.balance.begin(model)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (partial(OGMGE, alpha=0.0), "Expected `alpha` of OGMGE to be a number > 0, but got 0.0"),
        (partial(MMPareto, gamma=-1.0), "Expected `gamma` of MMPareto to be a number > 0, but got -1.0"),
    ],
)
def test_arguments_that_cannot_be(make, message):
    with pytest.raises(ConfigError, match=message):
        make({"a": (3,), "b": (3,)})
    with pytest.raises(ConfigError, match="Expected at least two modalities to balance"):
        make.func({"a": (3,)})
