"""Unimodal teachers pull the encoders, and leave no trace in a checkpoint."""

from functools import partial

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.nn import functional as F
from torch.testing import assert_close

from fusionlit.encoders import ConvEncoder
from fusionlit.errors import ConfigError
from fusionlit.models import UMT, CentralNet, IntermediateFusion, TrainingConfig, Unimodal

ENCODER = partial(ConvEncoder, widths=(4, 6), norm="group")


@pytest.fixture
def teachers(planted, make_trainer, tmp_path):
    """A trained network of each modality."""
    data, paths = planted(), {}
    for name in data.modalities:
        checkpoint = ModelCheckpoint(tmp_path / name, filename=name)
        model = Unimodal(data.modalities, data.target, name, ENCODER)
        trainer = make_trainer(max_epochs=2, enable_checkpointing=True, callbacks=[checkpoint])
        trainer.fit(model, datamodule=data)
        paths[name] = checkpoint.best_model_path
    return paths


@pytest.mark.parametrize("of", ["features", "predictions"])
@pytest.mark.parametrize("name", ["intermediate", "centralnet"])
def test_distances_are_added_to_the_loss(planted, teachers, step, of, name):
    data = planted(presence=True)
    balance = partial(UMT, teachers=teachers, of=of, weight=3.0, temperature=2.0)
    model, before, seen = step(data, balance, name)
    batch = seen.batches[0]
    there = batch["presence"]["noise"]
    output, distances = before(batch["inputs"], batch["presence"]), {}
    for modality, path in teachers.items():
        teacher = Unimodal.load_from_checkpoint(path).eval()
        rows = there if modality == "noise" else torch.ones_like(there)
        x = batch["inputs"][modality][rows]
        with torch.no_grad():
            taught = teacher.encoder(teacher.normalization[modality](x))
            said = teacher.head(taught) / 2.0
        if of == "features":
            learned = before.encoders[modality](before.normalization[modality](x))
            distances[modality] = F.mse_loss(learned, taught)
        else:
            own = (output.unimodal[modality][rows] / 2.0).log_softmax(1)
            distances[modality] = 4.0 * F.kl_div(own, said.log_softmax(1), reduction="batchmean", log_target=True)
    total, _ = before.multitask_loss(output, batch)
    (total + 3.0 * sum(distances.values())).backward()
    assert_close(seen.gradients, {key: p.grad for key, p in before.named_parameters()}, atol=1e-6, rtol=1e-4)
    assert model.balance.numbers == pytest.approx({k: d.item() for k, d in distances.items()}, rel=1e-4)


def test_a_students_checkpoint_loads_alone(planted, teachers, small, make_trainer, tmp_path):
    data = planted()
    model = small(data, partial(UMT, teachers=teachers))
    checkpoint = ModelCheckpoint(tmp_path / "student", filename="student")
    make_trainer(enable_checkpointing=True, callbacks=[checkpoint]).fit(model, datamodule=data)
    saved = torch.load(checkpoint.best_model_path, weights_only=True)
    assert list(saved["state_dict"]) == list(small(data, None).state_dict())
    assert not model.balance.teachers  # training is over
    assert not any(module._forward_hooks for module in model.modules())
    for path in teachers.values():
        (tmp_path / path).unlink()
    loaded = IntermediateFusion.load_from_checkpoint(checkpoint.best_model_path)
    assert_close(loaded.state_dict(), model.state_dict())
    with pytest.raises(ConfigError, match=r"`teachers.strong` to be a checkpoint of Unimodal, but there is no file"):
        make_trainer().fit(loaded, datamodule=data)


def test_teachers_are_frozen_and_evaluate(planted, teachers, small, make_trainer):
    data, seen = planted(), {}
    model = small(data, partial(UMT, teachers=teachers, weight=100.0), unimodal_loss_weight=0.0)
    taught = model.balance.loss

    def watched(*args):
        loss = taught(*args)
        seen.update(model.balance.teachers)
        assert not any(module.training for teacher in seen.values() for module in teacher.modules())
        return loss

    model.balance.loss = watched
    make_trainer(max_epochs=2).fit(model, datamodule=data)
    for name, path in teachers.items():
        assert_close(seen[name].state_dict(), torch.load(path, weights_only=True)["state_dict"], rtol=0, atol=0)


def test_students_come_near_their_teachers(planted, teachers, small, make_trainer):
    data, found = planted(), {}
    for weight in (1e-6, 10.0):
        adam = partial(torch.optim.Adam, lr=0.02)
        model = small(data, partial(UMT, teachers=teachers, weight=weight), optimizer=adam)
        make_trainer(max_epochs=10).fit(model, datamodule=data)
        found[weight] = model.balance.numbers
    assert all(found[10.0][name] < 0.6 * found[1e-6][name] for name in teachers), found


def test_teachers_that_do_not_fit_are_refused(planted, teachers, small, make_trainer):
    data = planted()

    def fit(model):
        make_trainer().fit(model, datamodule=data)

    with pytest.raises(ConfigError, match="Expected teacher 'noise' to predict from 'noise', but its checkpoint predi"):
        fit(small(data, partial(UMT, teachers={"noise": teachers["strong"]})))
    wide = partial(ConvEncoder, widths=(4, 8))
    training = TrainingConfig(balance=partial(UMT, teachers=teachers))
    model = IntermediateFusion(data.modalities, data.target, wide, training=training)
    with pytest.raises(
        ConfigError, match=r"features of 'strong' to have the shape of its teacher's, \(6, .*but got \(8,"
    ):
        fit(model)
    with pytest.raises(ConfigError, match="UMT hooks the encoders for their features, which a compiled network"):
        fit(small(data, partial(UMT, teachers=teachers), compile_mode="default"))
    with pytest.raises(ConfigError, match=r"UMT needs the unimodal head of every modality, but \['strong', 'noise'\]"):
        small(data, partial(UMT, teachers=teachers, of="predictions"), unimodal_loss_weight=0.0)
    frozen = CentralNet(data.modalities, data.target, ENCODER, training=training)
    frozen.encoders.requires_grad_(False)
    with pytest.raises(ConfigError, match="nothing is trainable in those of"):
        fit(frozen)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"teachers": {}}, r"Expected `teachers` of UMT to name some of the modalities \['a', 'b'\], but got \[\]"),
        ({"teachers": {"c": "x"}}, r"to name some of the modalities \['a', 'b'\], but got \['c'\]"),
        ({"teachers": {"a": "x"}, "of": "logits"}, "Expected `of` of UMT to be one of .* but got 'logits'"),
        ({"teachers": {"a": "x"}, "weight": 0.0}, "Expected `weight` of UMT to be a number > 0, but got 0.0"),
        ({"teachers": {"a": "x"}, "temperature": -1.0}, "Expected `temperature` of UMT to be a number > 0"),
    ],
)
def test_arguments_that_cannot_be(arguments, message):
    with pytest.raises(ConfigError, match=message):
        UMT({"a": (3,), "b": (3,)}, **arguments)
