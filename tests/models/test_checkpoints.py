"""A checkpoint loads safely, alone, and only where it fits."""

from functools import partial
from pathlib import Path

import pytest
import torch
from lightning import seed_everything
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from fusionlit.encoders import ConvEncoder, MLPHead
from fusionlit.errors import ConfigError
from fusionlit.fusion import WeightedAverage
from fusionlit.models import CentralNet, IntermediateFusion, LateFusion, TrainingConfig, Unimodal
from fusionlit.models.members import load_any
from fusionlit.tasks import MulticlassClassification
from fusionlit.types import ModalitySpec

encoder = partial(ConvEncoder, widths=(4, 8))
adam = partial(torch.optim.Adam, lr=0.01)


def fit(model, data, make_trainer, folder: Path, name: str = "best", callbacks=()) -> Path:
    checkpoint = ModelCheckpoint(folder / name, filename=name)
    trainer = make_trainer(max_epochs=2, enable_checkpointing=True, callbacks=[checkpoint, *callbacks])
    trainer.fit(model, datamodule=data)
    return folder / name / f"{name}.ckpt"


def predict(model, data):
    batch = next(iter(data.val_dataloader()))
    return model.eval()(batch["inputs"]).prediction


def test_loads_safely_and_alone(planted, make_trainer, tmp_path):
    seed_everything(0, verbose=False)
    data = planted()
    model = CentralNet(
        data.modalities,
        data.target,
        encoder=encoder,
        encoders={"noise": encoder},
        head=partial(MLPHead, hidden=(5,)),
        training=TrainingConfig(optimizer=adam, unimodal_loss_weight={"strong": 0.5}),
    )
    path = fit(model, data, make_trainer, tmp_path)
    saved = torch.load(path, weights_only=True)
    assert [(name, ModalitySpec(**spec)) for name, spec in saved["modalities"]] == [
        ("strong", ModalitySpec((3, 16))),
        ("noise", ModalitySpec((3, 16))),
    ]
    assert saved["hyper_parameters"]["encoder"]["class_path"] == "fusionlit.encoders.ConvEncoder"
    assert saved["hyper_parameters"]["_class_path"] == "fusionlit.CentralNet"
    loaded = CentralNet.load_from_checkpoint(path)
    torch.testing.assert_close(predict(loaded, data), predict(model, data))
    assert loaded.unimodal_weights == {"strong": 0.5, "noise": 0.0}
    assert loaded.configure_optimizers().param_groups[0]["lr"] == 0.01
    assert loaded.normalization["strong"].fitted
    again = fit(loaded.train(), data, make_trainer, tmp_path, "fine-tuned")
    torch.testing.assert_close(predict(CentralNet.load_from_checkpoint(again), data), predict(loaded, data))


def test_a_checkpoint_with_the_paths_of_our_files_still_loads(planted, make_trainer, tmp_path):
    data = planted()
    model = Unimodal(data.modalities, data.target, "strong", encoder)
    path = fit(model, data, make_trainer, tmp_path)
    saved = torch.load(path, weights_only=True)
    saved["hyper_parameters"]["_class_path"] = "fusionlit.models.unimodal.Unimodal"
    saved["hyper_parameters"]["encoder"]["class_path"] = "fusionlit.encoders.conv.ConvEncoder"
    torch.save(saved, path)
    torch.testing.assert_close(predict(Unimodal.load_from_checkpoint(path), data), predict(model, data))
    member, _ = load_any(str(path), "members[0]")
    torch.testing.assert_close(predict(member, data), predict(model, data))


def test_a_checkpoint_is_loaded_to_be_trained_on_in_another_way(planted, make_trainer, tmp_path):
    data = planted()
    model = IntermediateFusion(data.modalities, data.target, encoder)
    path = fit(model, data, make_trainer, tmp_path)
    training = TrainingConfig(partial(torch.optim.SGD, lr=0.5), modality_dropout={"noise": 0.25})
    task = partial(MulticlassClassification, label_smoothing=0.25)
    for changes in ({"training": training}, {"task": task}, {"training": training, "task": task}):
        loaded = IntermediateFusion.load_from_checkpoint(path, map_location="cpu", **changes)
        torch.testing.assert_close(predict(loaded, data), predict(model, data))
        assert (loaded.drop_probabilities["noise"] == 0.25) == ("training" in changes)
        assert (loaded.task.label_smoothing == 0.25) == ("task" in changes)
    again = fit(loaded.train(), data, make_trainer, tmp_path, "again")
    saved = torch.load(again, weights_only=True)["hyper_parameters"]["training"]
    assert saved["optimizer"]["init_args"]["lr"] == 0.5

    for changes in ({"normalize": False}, {"encoder": encoder, "training": training}):
        with pytest.raises(ConfigError, match=rf"training or task .* but got \['{next(iter(changes))}'\], which would"):
            IntermediateFusion.load_from_checkpoint(path, **changes)
    with pytest.raises(
        ConfigError, match=r"(?s)Expected training to fit the network of the checkpoint, .*unimodal_heads"
    ):
        IntermediateFusion.load_from_checkpoint(path, training=TrainingConfig(unimodal_loss_weight=1.0))
    with pytest.raises(TypeError, match="cannot be called on an instance"):
        model.load_from_checkpoint(path)


def test_a_loaded_model_takes_raw_inputs(planted, make_trainer, tmp_path):
    data = planted()
    model = IntermediateFusion(data.modalities, data.target, encoder)
    fit(model, data, make_trainer, tmp_path)
    inputs = data.dataset("train").inputs
    for name, norm in model.normalization.items():
        standard = norm(inputs[name])
        torch.testing.assert_close(standard.mean((0, 2)), torch.zeros(3), atol=1e-5, rtol=0)
        torch.testing.assert_close(standard.std((0, 2), correction=0), torch.ones(3), atol=1e-5, rtol=0)


def test_other_modalities_are_refused_with_what_differs(planted, make_trainer, tmp_path):
    data = planted()
    path = fit(CentralNet(data.modalities, data.target, encoder), data, make_trainer, tmp_path)
    cases = [
        (
            {"strong": (3, 16), "radar": (3, 16)},
            "noise (3, 16) is in the checkpoint only; radar (3, 16) is",
        ),
        ({"strong": (3, 16), "noise": (2, 16)}, "noise is (3, 16) in the checkpoint, but (2, 16) in the data"),
        ({"noise": (3, 16), "strong": (3, 16)}, "in the order of the checkpoint, ['strong', 'noise'],"),
    ]
    for modalities, message in cases:
        with pytest.raises(ConfigError) as caught:
            CentralNet.load_from_checkpoint(path, modalities=modalities)
        assert message in str(caught.value)


@pytest.mark.parametrize("bad", [lambda shape: ConvEncoder(shape), type("Local", (ConvEncoder,), {})])
def test_what_a_checkpoint_cannot_hold_is_refused_before_training(planted, make_trainer, tmp_path, bad):
    if isinstance(bad, type):
        bad.__qualname__ = "test.<locals>.Local"
    data = planted()
    with pytest.raises(ConfigError, match=r"Expected `model.encoder` to be something that a checkpoint can name"):
        fit(CentralNet(data.modalities, data.target, bad), data, make_trainer, tmp_path)


class OwnEncoder(ConvEncoder):
    """As a user writes it."""


class OwnFusion(IntermediateFusion):
    """As a user writes it."""


def test_classes_of_a_script_or_notebook_are_named_before_training(planted, make_trainer, tmp_path, monkeypatch):
    for owned in (OwnEncoder, OwnFusion):
        monkeypatch.setattr(owned, "__module__", "__main__")
    data = planted()
    model = OwnFusion(data.modalities, data.target, partial(OwnEncoder, widths=(4, 8)))
    named = r"in this script or notebook, which defines __main__.OwnFusion, __main__.OwnEncoder. Move the class"
    with pytest.warns(UserWarning, match=named):
        fit(model, data, make_trainer, tmp_path)
    make_trainer(max_steps=1).fit(model, datamodule=data)  # without checkpoints it is no matter


def members(data, make_trainer, folder, encoder=encoder):
    return {
        name: str(fit(Unimodal(data.modalities, data.target, name, encoder), data, make_trainer, folder, name))
        for name in data.modalities
    }


def test_ensemble_of_frozen_members(planted, make_trainer, tmp_path):
    data = planted()
    paths = members(data, make_trainer, tmp_path)
    ensemble = LateFusion(data.modalities, data.target, members=paths, fusion=partial(WeightedAverage, learned=False))
    mean = sum(predict(Unimodal.load_from_checkpoint(path), data) for path in paths.values()) / 2
    torch.testing.assert_close(predict(ensemble, data), mean)
    with pytest.raises(ConfigError, match="Nothing in this model is trainable"):
        make_trainer().fit(ensemble, datamodule=data)


class Modes(Callback):
    """Which modules of frozen members are in training mode as training batches pass through them."""

    def __init__(self):
        self.training = []

    def on_before_backward(self, trainer, pl_module, loss):
        parts = [*pl_module.encoders.modules(), *pl_module.heads.modules()]
        self.training += [part for part in parts if part.training]


def test_members_stay_frozen_and_the_ensemble_loads_alone(planted, make_trainer, tmp_path):
    data = planted()
    normed = partial(ConvEncoder, widths=(4, 8), norm="batch", dropout=0.5)
    paths = members(data, make_trainer, tmp_path, normed)
    model = LateFusion(data.modalities, data.target, members=paths, training=TrainingConfig(optimizer=adam))
    frozen = {
        k: v.clone() for k, v in model.state_dict().items() if k.startswith(("encoders", "heads", "normalization"))
    }
    assert any(k.endswith("running_mean") for k in frozen)
    modes = Modes()
    path = fit(model, data, make_trainer, tmp_path, "ensemble", callbacks=[modes])
    assert all(torch.equal(model.state_dict()[k], v) for k, v in frozen.items())
    assert not modes.training
    assert all(p.grad is None for part in (model.encoders, model.heads) for p in part.parameters())
    assert model.fusion.training
    assert model.fusion_weights()["prediction"]["strong"] != 0.5
    assert not any(module.training for module in model.train().encoders.modules())
    expected = predict(model, data)
    for member in paths.values():
        Path(member).unlink()
    torch.testing.assert_close(predict(LateFusion.load_from_checkpoint(path), data), expected)


def test_members_that_do_not_fit_are_refused(planted, make_trainer, tmp_path):
    data = planted()
    paths = members(data, make_trainer, tmp_path)
    other = fit(IntermediateFusion(data.modalities, data.target, encoder), data, make_trainer, tmp_path, "other")
    swapped = {"strong": paths["noise"], "noise": paths["strong"]}
    cases = [
        ({"members": {"strong": paths["strong"]}}, "`members` to name every modality"),
        ({"members": {**paths, "noise": "gone.ckpt"}}, "there is no file gone.ckpt"),
        ({"members": {**paths, "noise": str(other)}}, "is a checkpoint of fusionlit.IntermediateFusion"),
        ({"members": swapped}, "to predict from 'strong', but its checkpoint predicts from 'noise'"),
        ({"members": paths, "normalize": False}, "`normalize` to be True"),
        ({"members": paths, "encoder": encoder}, "`members` without encoder"),
        ({"fusion": partial(WeightedAverage, of="probabilities", exclusive=False)}, "to fit a 'multiclass' target"),
    ]
    for options, message in cases:
        with pytest.raises(ConfigError) as caught:
            LateFusion(data.modalities, data.target, **options)
        assert message in str(caught.value)


def test_centralnet_begins_from_trained_members_and_trains_them_on(planted, make_trainer, tmp_path):
    seed_everything(0, verbose=False)
    data = planted()
    paths = members(data, make_trainer, tmp_path)
    model = CentralNet(data.modalities, data.target, encoder, members=paths, training=TrainingConfig(optimizer=adam))
    output = model.eval()(next(iter(data.val_dataloader()))["inputs"])
    for name, path in paths.items():
        torch.testing.assert_close(output.unimodal[name], predict(Unimodal.load_from_checkpoint(path), data))
    before = model.encoders["strong"].stages[0][0].weight.clone()
    path = fit(model.train(), data, make_trainer, tmp_path, "central")
    assert not torch.equal(model.encoders["strong"].stages[0][0].weight, before)
    for member in paths.values():
        Path(member).unlink()
    torch.testing.assert_close(predict(CentralNet.load_from_checkpoint(path), data), predict(model, data))
    with pytest.raises(ConfigError, match="`members` with `encoder` or `central`"):
        CentralNet(data.modalities, data.target, members=paths)


def test_centralnet_begins_with_the_weights_that_it_is_given(planted):
    data = planted()
    initial = {"strong": 0.5, "noise": 0.1, "central": 0.4}
    model = CentralNet(data.modalities, data.target, encoder, initial_weights=initial)
    weights = model.fusion_weights()
    assert weights["stage1"]["central"].item() == pytest.approx(0.4)
    assert weights["inputs"]["strong"].item() == pytest.approx(0.5 / 0.6)


def test_a_file_that_is_no_checkpoint_is_named(tmp_path):
    (tmp_path / "notes.ckpt").write_text("notes")
    with pytest.raises(ConfigError, match=r"notes\.ckpt to be a checkpoint, but it is damaged, or another kind"):
        CentralNet.load_from_checkpoint(tmp_path / "notes.ckpt")
