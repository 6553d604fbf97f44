"""Several trained strategies that predict as one."""

import json
from functools import partial
from pathlib import Path

import pytest
import torch

from fusionlit.encoders import ConvEncoder
from fusionlit.errors import ConfigError
from fusionlit.models import CentralNet, Ensemble, FusionModule, IntermediateFusion, Unimodal
from fusionlit.tasks import MulticlassClassification
from tests.processes import run

encoder = partial(ConvEncoder, widths=(4, 8), norm="batch")


def save(model: FusionModule, path: Path, make_trainer) -> str:
    trainer = make_trainer()
    trainer.strategy.connect(model)
    trainer.save_checkpoint(path, weights_only=True)
    return str(path)


def trained(data, seed: int, make=CentralNet) -> FusionModule:
    """As after training on data of its own: random weights, statistics and temperature, none like another's."""
    torch.manual_seed(seed)
    model = make(data.modalities, data.target, encoder=encoder)
    for norm in model.normalization.values():
        norm.mean += torch.randn(3)
        norm.std.fill_(1.0 + seed)
        norm.fitted.fill_(True)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.running_mean.normal_()
    if model.task.temperature is not None:
        model.task.temperature.value.fill_(0.5 + seed)
    return model.eval()


@pytest.fixture
def members(planted, make_trainer, tmp_path):
    def make(kind, **options):
        data = planted(kind, **options)
        models = [trained(data, seed) for seed in range(3)]
        return data, models, [save(m, tmp_path / f"{i}.ckpt", make_trainer) for i, m in enumerate(models)]

    return make


def probabilities(model, z):
    return model.task.predict(z)


@pytest.mark.parametrize("presence", [False, True])
@pytest.mark.parametrize("kind", ["multiclass", "binary", "multilabel", "regression"])
def test_it_predicts_the_mean_of_the_members_probabilities(members, kind, presence):
    data, models, paths = members(kind, presence=presence)
    ensemble = Ensemble(data.modalities, data.target, paths).train()
    batch = data.convert(next(iter(data.test_dataloader())))
    said = [model(batch["inputs"], batch.get("presence")) for model in models]
    mean = torch.stack([probabilities(m, o.prediction) for m, o in zip(models, said, strict=True)]).mean(0)
    output = ensemble(batch["inputs"], batch.get("presence"))
    torch.testing.assert_close(probabilities(ensemble, output.prediction), mean)
    torch.testing.assert_close(ensemble.predict_step(batch, 0)["prediction"], mean)
    for name in data.modalities:
        mean = torch.stack([probabilities(m, o.unimodal[name]) for m, o in zip(models, said, strict=True)]).mean(0)
        torch.testing.assert_close(probabilities(ensemble, output.unimodal[name]), mean)


def test_the_order_of_the_modalities_does_not_matter(members):
    data, _, paths = members("multiclass", presence=True)
    batch = data.convert(next(iter(data.test_dataloader())))
    outputs = [
        Ensemble(dict(order), data.target, paths)(batch["inputs"], batch["presence"]).prediction
        for order in (data.modalities.items(), reversed(data.modalities.items()))
    ]
    torch.testing.assert_close(*outputs)


def test_a_very_sure_member_does_not_make_the_loss_infinite(members):
    data, _, paths = members("binary")
    ensemble = Ensemble(data.modalities, data.target, paths)
    sure = ensemble._mean([torch.full((2, 1), z) for z in (400.0, 300.0, 500.0)])
    assert sure.isfinite().all()


def test_the_central_network_is_averaged_too(planted, make_trainer, tmp_path):
    data = planted()
    models = [trained(data, seed, partial(CentralNet, fuse_predictions=True)) for seed in range(2)]
    paths = [save(m, tmp_path / f"{i}.ckpt", make_trainer) for i, m in enumerate(models)]
    inputs = next(iter(data.test_dataloader()))["inputs"]
    mean = torch.stack([m.task.predict(m(inputs).central) for m in models]).mean(0)
    ensemble = Ensemble(data.modalities, data.target, paths)
    torch.testing.assert_close(ensemble.task.predict(ensemble(inputs).central), mean)
    metrics = make_trainer().test(ensemble, data, verbose=False)[0]
    assert {"test/accuracy", "test/accuracy/strong", "test/accuracy/central"} <= set(metrics)


def test_members_of_other_strategies_share_what_all_of_them_have(planted, make_trainer, tmp_path):
    data = planted()
    models = [trained(data, 0), trained(data, 1, IntermediateFusion)]
    ensemble = Ensemble(
        data.modalities, data.target, [save(m, tmp_path / f"{i}.ckpt", make_trainer) for i, m in enumerate(models)]
    )
    output = ensemble(next(iter(data.test_dataloader()))["inputs"])
    assert (output.unimodal, output.central, ensemble.fusion_weights()) == ({}, None, {})


def test_fusion_weights_are_the_members_mean(members):
    data, models, paths = members("multiclass")
    with torch.no_grad():
        for i, model in enumerate(models):
            for operator in model.fusion_layers().values():
                for parameter in operator.fusion_parameters():
                    parameter.fill_(float(i))
    ensemble = Ensemble(data.modalities, data.target, paths)
    weights = ensemble.fusion_weights()
    assert list(weights) == list(models[0].fusion_layers())
    of_all = [member.fusion_weights() for member in ensemble.members]
    for layer, sources in weights.items():
        for source, weight in sources.items():
            torch.testing.assert_close(weight, torch.stack([w[layer][source] for w in of_all]).mean(0))


def test_its_checkpoint_loads_in_a_new_process_without_the_members_files(members, make_trainer, tmp_path):
    data, _, paths = members("multiclass")
    ensemble = Ensemble(data.modalities, data.target, paths).eval()
    path = save(ensemble, tmp_path / "ensemble.ckpt", make_trainer)
    for member in paths:
        Path(member).unlink()
    inputs = next(iter(data.test_dataloader()))["inputs"]
    torch.save({"inputs": inputs, "expected": ensemble(inputs).prediction}, tmp_path / "batch.pt")
    run(load_and_compare, path, tmp_path / "batch.pt")


def load_and_compare(checkpoint, expected):
    model = Ensemble.load_from_checkpoint(checkpoint).eval()
    batch = torch.load(expected)
    torch.testing.assert_close(model(batch["inputs"]).prediction, batch["expected"])
    again = torch.load(checkpoint, weights_only=True)
    assert all(member.startswith("{") for member in again["hyper_parameters"]["members"])


def test_members_stay_as_they_are_and_nothing_trains(members, make_trainer):
    data, models, paths = members("multiclass")
    ensemble = Ensemble(data.modalities, data.target, paths).train()
    assert not any(module.training for module in ensemble.members.modules())
    assert not any(p.requires_grad for p in ensemble.parameters())
    with pytest.raises(ConfigError, match="Nothing in this model is trainable"):
        make_trainer().fit(ensemble, data)
    assert all(
        torch.equal(norm.mean, models[1].normalization[n].mean) for n, norm in ensemble.members[1].normalization.items()
    )


def test_its_task_is_that_of_the_first_member_without_the_temperature(planted, make_trainer, tmp_path):
    data = planted()
    task = partial(MulticlassClassification, class_weights="balanced", label_smoothing=0.1)
    model = trained(data, 1, partial(CentralNet, task=task))
    model.task.set_class_counts(torch.tensor([3, 1]))
    path = save(model, tmp_path / "one.ckpt", make_trainer)
    ensemble = Ensemble(data.modalities, data.target, [path])
    assert ensemble.task.temperature.value == 1.0
    assert ensemble.members[0].task.temperature.value == 1.5
    model.task.temperature.reset()
    expected = make_trainer().test(model, data, verbose=False)[0]["test/loss"]
    alone = make_trainer()
    ensemble.members[0].task.temperature.reset()
    assert alone.test(ensemble, data, verbose=False)[0]["test/loss"] == pytest.approx(expected)


def test_what_cannot_be_a_member_is_refused(planted, members, make_trainer, tmp_path):
    data, _, paths = members("multiclass")
    other = planted("regression")
    torch.save({"state_dict": {}}, tmp_path / "none.ckpt")
    cases = [
        (data, [], "`members` to name at least one checkpoint"),
        (data, [paths[0], "gone.ckpt"], r"`members\[1\]` to be a checkpoint, but there is no file gone.ckpt"),
        (data, [str(tmp_path / "none.ckpt")], "to be a checkpoint that fusionlit wrote"),
        (
            data,
            [json.dumps({"_class_path": "gone.Model"})],
            "name a subclass of FusionModule of an imported module, but got gone.Model",
        ),
        (other, paths, "trained for another target: kind is 'multiclass' in the checkpoint"),
    ]
    for of, given, message in cases:
        with pytest.raises(ConfigError, match=message):
            Ensemble(of.modalities, of.target, given)
    unimodal = trained(data, 0, partial(Unimodal, modality="strong"))
    with pytest.raises(ConfigError, match=r"noise \(3, 16\) is in the checkpoint only"):
        Ensemble({"strong": (3, 16)}, data.target, [save(unimodal, tmp_path / "u.ckpt", make_trainer)])


def test_an_ensemble_of_ensembles_is_one(members, make_trainer, tmp_path):
    data, models, paths = members("multiclass")
    two = Ensemble(data.modalities, data.target, paths[:2]).eval()
    four = Ensemble(data.modalities, data.target, [save(two, tmp_path / "two.ckpt", make_trainer), paths[2]])
    inputs = next(iter(data.test_dataloader()))["inputs"]
    shares = zip((0.25, 0.25, 0.5), models, strict=True)
    mean = sum(share * m.task.predict(m(inputs).prediction) for share, m in shares)
    torch.testing.assert_close(four.task.predict(four(inputs).prediction), mean)
