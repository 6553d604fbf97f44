"""What every strategy promises, on real training steps."""

import logging
from dataclasses import replace
from functools import partial

import pytest
import torch
from lightning import seed_everything
from torch.utils.data import default_collate

from fusionlit.encoders import ConvEncoder
from fusionlit.errors import ConfigError
from fusionlit.fusion import Add, Concat, GatedFusion, WeightedSum
from fusionlit.models import CentralNet, EarlyFusion, IntermediateFusion, LateFusion, TrainingConfig, Unimodal
from fusionlit.models.normalization import InputNormalization
from fusionlit.tasks import MulticlassClassification
from fusionlit.types import ChannelStatistics, TargetSpec

encoder = partial(ConvEncoder, widths=(4, 8))
UNIMODAL_LOSS = TrainingConfig(unimodal_loss_weight=0.5)
STRATEGIES = {
    "early": partial(EarlyFusion, encoder=encoder),
    "early multi-task": partial(EarlyFusion, encoder=encoder, training=UNIMODAL_LOSS),
    "concat": partial(IntermediateFusion, encoder=encoder),
    "concat multi-task": partial(IntermediateFusion, encoder=encoder, training=UNIMODAL_LOSS),
    "weighted sum": partial(IntermediateFusion, encoder=encoder, fusion=WeightedSum),
    "half-way": partial(IntermediateFusion, encoder=encoder, stage=1, trunk=encoder),
    "late average": partial(LateFusion, encoder=encoder),
    "late concat": partial(LateFusion, encoder=encoder, fusion=Concat),
    "late embedding": partial(LateFusion, encoder=encoder, embedding=3, fusion=Concat, training=UNIMODAL_LOSS),
    "centralnet": partial(CentralNet, encoder=encoder),
    "centralnet without inputs": partial(CentralNet, encoder=encoder, fuse_inputs=False),
    "centralnet raw": partial(CentralNet, encoder=encoder, weights="raw", source_norm=False),
    "unimodal": partial(Unimodal, encoder=encoder, modality="strong"),
}


@pytest.fixture(params=STRATEGIES)
def strategy(request):
    seed_everything(0, verbose=False)
    return STRATEGIES[request.param]


def build(strategy, data):
    return strategy(modalities=data.modalities, target=data.target)


def inputs_of(data, batch=6):
    samples = [data.dataset("val")[i] for i in range(batch)]
    return {name: torch.stack([s["inputs"][name] for s in samples]) for name in data.modalities}


@pytest.mark.parametrize("presence", [False, True])
def test_fit_learns_and_test_counts_every_sample(strategy, planted, make_trainer, presence):
    data = planted(size=65, presence=presence)
    model = build(strategy, data)
    model.training_setup = replace(model.training_setup, optimizer=partial(torch.optim.Adam, lr=0.01))
    trainer = make_trainer(max_epochs=8)
    trainer.fit(model, datamodule=data)
    metrics = trainer.test(model, datamodule=data, verbose=False)[0]
    assert metrics["test/accuracy"] > 0.8
    predictions = trainer.predict(model, datamodule=data)
    assert torch.cat([p["index"] for p in predictions]).tolist() == list(range(6000, 6065))
    probability = torch.cat([p["prediction"] for p in predictions])
    torch.testing.assert_close(probability.sum(1), torch.ones(65))


def test_multitask_loss_is_the_sum_of_its_parts(planted):
    data = planted()
    seed_everything(0, verbose=False)
    weights = {"strong": 0.25, "noise": 2.0}
    model = CentralNet(
        data.modalities, data.target, encoder, training=TrainingConfig(unimodal_loss_weight=weights)
    ).eval()
    batch = next(iter(data.val_dataloader()))
    output = model(batch["inputs"])
    total, _ = model.multitask_loss(output, batch)
    ce = torch.nn.functional.cross_entropy
    expected = ce(output.prediction, batch["target"])
    for name, weight in weights.items():
        expected = expected + weight * ce(output.unimodal[name], batch["target"])
    torch.testing.assert_close(total, expected)


def test_unimodal_loss_is_the_mean_over_the_samples_that_have_the_modality(planted):
    data = planted(presence=True)
    seed_everything(0, verbose=False)
    model = IntermediateFusion(
        data.modalities, data.target, encoder, training=TrainingConfig(unimodal_loss_weight={"noise": 1.0})
    ).eval()
    batch = data.convert(next(iter(data.val_dataloader())))
    output = model(batch["inputs"], batch["presence"])
    total, _ = model.multitask_loss(output, batch)
    there = batch["presence"]["noise"]
    ce = torch.nn.functional.cross_entropy
    expected = ce(output.prediction, batch["target"]) + ce(output.unimodal["noise"][there], batch["target"][there])
    torch.testing.assert_close(total, expected)
    assert list(output.unimodal) == ["noise"]


def test_modalities_of_different_rank_meet_through_projections(caplog):
    shapes = {"rgb": (4, 16, 16), "acc": (3, 20), "text": (7,)}
    target = TargetSpec("multiclass", 3)
    inputs = {name: torch.randn(2, *shape) for name, shape in shapes.items()}
    logging.getLogger("lightning.pytorch").addHandler(caplog.handler)  # it does not propagate
    model = IntermediateFusion(shapes, target, fusion=Add)
    logging.getLogger("lightning.pytorch").removeHandler(caplog.handler)
    assert "fusion: acc (128, 2) is mapped to (128, 2, 2) by a learned projection" in caplog.text
    assert model(inputs).prediction.shape == (2, 3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda m, t: CentralNet({}, t), "at least one modality"),
        (lambda m, t: CentralNet({"central": (3, 8)}, t), "but got 'central'"),
        (lambda m, t: CentralNet({"keys": (3, 8)}, t), "but got 'keys'"),
        (lambda m, t: CentralNet({"a.b": (3, 8)}, t), "but got 'a.b'"),
        (lambda m, t: CentralNet(m, t, encoders={"strong": encoder}), "['noise'] have none"),
        (lambda m, t: CentralNet(m, t, encoders={"radar": encoder}), "but got ['radar']"),
        (
            lambda m, t: CentralNet(m, t, encoders={"strong": encoder, "noise": partial(ConvEncoder, widths=(4,))}),
            "same number of stages for CentralNet, but got {'strong': 2, 'noise': 1}",
        ),
        (lambda m, t: CentralNet(m, t, encoder, central=partial(ConvEncoder, widths=(4,))), "encoder with 2 stages"),
        (lambda m, t: CentralNet({"a": (3, 16), "b": (4, 16)}, t, fuse_inputs=True), "inputs of equal shape"),
        (lambda m, t: IntermediateFusion(m, t, encoder, stage=3), "`stage` to be from 1 to 2"),
        (lambda m, t: Unimodal(m, t, "radar"), "`modality` to be one of ['strong', 'noise'], but got 'radar'"),
        (
            lambda m, t: CentralNet(m, t, encoder, training=TrainingConfig(unimodal_loss_weight={"radar": 1.0})),
            "the keys of `unimodal_loss_weight` to be among ['strong', 'noise'], but got ['radar']",
        ),
        (lambda m, t: CentralNet(m, t, encoder, training=TrainingConfig(unimodal_loss_weight=-1.0)), "to be >= 0"),
    ],
)
def test_misuse_is_explained(planted, make, message):
    data = planted()
    with pytest.raises(ConfigError) as caught:
        make(data.modalities, data.target)
    assert message in str(caught.value)


def test_validation_losses_do_not_depend_on_the_batch_size(planted, make_trainer):
    """Neither with absent modalities, nor with class weights."""
    seed_everything(0, verbose=False)
    training = TrainingConfig(unimodal_loss_weight=1.0)
    task = partial(MulticlassClassification, class_weights=[1.0, 5.0])
    model = IntermediateFusion(*planted_shapes(planted), encoder, task=task, training=training, normalize=False)
    results = []
    for size in (1, 7, 32):
        data = planted(size=32, presence=True, batch_size=size)
        results.append(make_trainer().validate(model, datamodule=data, verbose=False)[0])
    for other in results[1:]:
        assert other == pytest.approx(results[0], abs=1e-5)
    batch = data.convert(next(iter(data.val_dataloader())))
    expected = model.eval().multitask_loss(model(batch["inputs"], batch["presence"]), batch)[1]
    assert results[0]["val/unimodal_loss/noise"] == pytest.approx(
        expected["unimodal_loss/noise"].value.item(), abs=1e-5
    )


@pytest.mark.parametrize("where", ["training_step", "validation_step"])
def test_a_run_behind_an_interrupted_one_has_all_its_metrics(planted, make_trainer, monkeypatch, where):
    data = planted()
    model = IntermediateFusion(data.modalities, data.target, encoder)
    step, seen = getattr(model, where), []

    def interrupted(batch, batch_idx):
        seen.append(step(batch, batch_idx))
        raise RuntimeError("interrupted")

    with monkeypatch.context() as patch:
        patch.setattr(model, where, interrupted)
        with pytest.raises(RuntimeError, match="interrupted"):
            make_trainer(num_sanity_val_steps=0).fit(model, datamodule=data)
    assert len(seen) == 1
    trainer = make_trainer(max_epochs=2)
    trainer.fit(model.train(), datamodule=data)
    assert {"train/accuracy", "val/accuracy", "val/loss"} <= set(trainer.callback_metrics)
    again = make_trainer().validate(model, datamodule=data, verbose=False)[0]
    for name in ("val/accuracy", "val/loss"):
        assert trainer.callback_metrics[name].item() == pytest.approx(again[name])


def test_an_untrained_model_is_not_tested_in_silence(planted, make_trainer):
    data = planted()
    model = IntermediateFusion(data.modalities, data.target, encoder)
    with pytest.warns(UserWarning, match="This IntermediateFusion has never been trained: give its checkpoint"):
        make_trainer().test(model, datamodule=data, verbose=False)


@pytest.mark.parametrize("value", [200 / 255, 128 / 255, 1e6])
def test_a_constant_channel_is_not_divided_by_rounding_noise(value):
    norm = InputNormalization((2, 4, 4))
    x = torch.randn(50, 2, 4, 4)
    x[:, 1] = value
    total = x[:, 1].double()
    std = (total.square().mean() - total.mean().square()).clamp(min=0).sqrt()
    norm.fit(ChannelStatistics(torch.tensor([0.0, value]), torch.tensor([1.0, float(std)])))
    changed = x.clone()
    changed[:, 1] += 1 / 255
    assert norm(changed)[:, 1].abs().max() < 0.1


def test_gates_of_early_fusion_are_those_of_the_batch_itself():
    """Not of the copies in which each modality is alone, from which the unimodal predictions come."""
    shapes, target = {"a": (3, 16), "b": (3, 16)}, TargetSpec("multiclass", 2)
    inputs = {name: torch.randn(8, 3, 16) for name in shapes}
    told = []
    for weight in (0.0, 0.5):
        seed_everything(0, verbose=False)
        model = EarlyFusion(shapes, target, fusion=GatedFusion, training=TrainingConfig(unimodal_loss_weight=weight))
        model(inputs)
        told.append(model.fusion_weights())
    torch.testing.assert_close(told[0], told[1])


def test_late_fusion_by_gates_can_be_sure():
    """Gated predictions lie between -1 and 1: a joint head has to follow."""
    shapes, target = {"a": (3, 16), "b": (3, 16)}, TargetSpec("multiclass", 2)
    model = LateFusion(shapes, target, fusion=GatedFusion)
    assert model.joint is not None
    assert LateFusion(shapes, target, fusion=Add).joint is None
    for parameter in model.joint.parameters():
        parameter.data.mul_(100)
    assert model({name: torch.randn(8, 3, 16) for name in shapes}).prediction.abs().max() > 2


def test_a_channel_in_tiny_units_is_standardised():
    norm = InputNormalization((1, 1000))
    x = 1e-9 * torch.randn(4, 1, 1000)  # such as tesla
    norm.fit(ChannelStatistics(x.double().mean()[None], x.double().std(correction=0)[None]))
    torch.testing.assert_close(norm(x).std(correction=0), torch.tensor(1.0))


def planted_shapes(planted):
    data = planted()
    return data.modalities, data.target


def test_early_fusion_evaluates_as_it_trains_with_batch_norm(planted):
    """Its unimodal predictions go through the same batch normalisation in the same call."""
    data = planted()
    seed_everything(0, verbose=False)
    norm = partial(ConvEncoder, widths=(4, 8), norm="batch")
    model = EarlyFusion(data.modalities, data.target, norm, training=UNIMODAL_LOSS, normalize=False)
    inputs = inputs_of(data, 64)
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 1.0  # running statistics are those of the last batch
    trained = model(inputs)
    evaluated = model.eval()(inputs)
    torch.testing.assert_close(evaluated.prediction, trained.prediction, atol=0.01, rtol=0.01)
    alone = model({**inputs, "noise": torch.zeros_like(inputs["noise"])}).prediction
    torch.testing.assert_close(evaluated.unimodal["strong"], alone)


def test_presence_of_some_modalities_leaves_the_others_there(planted):
    data = planted()
    model = IntermediateFusion(data.modalities, data.target, encoder).eval()
    inputs = inputs_of(data)
    there = torch.tensor([True, False, True, True, False, True])
    both = {"noise": there, "strong": torch.ones_like(there)}
    torch.testing.assert_close(model(inputs, {"noise": there}).prediction, model(inputs, both).prediction)


def test_plain_loaders_train_without_normalisation_and_that_is_said_once(planted, make_trainer):
    data = planted()
    model = IntermediateFusion(data.modalities, data.target, encoder)
    with pytest.warns(UserWarning, match="no FusionDataModule to take the input statistics from") as told:
        make_trainer().fit(model, data.train_dataloader(), data.val_dataloader())
    assert not [warning for warning in told if "never been trained" in str(warning.message)]
    x = inputs_of(data)["strong"]
    assert torch.equal(model.normalization["strong"](x), x)


@pytest.mark.filterwarnings("ignore:This CentralNet has never been trained")
@pytest.mark.parametrize(
    ("kind", "metric"),
    [("multiclass", "accuracy"), ("binary", "accuracy"), ("multilabel", "accuracy"), ("regression", "mse")],
)
def test_every_source_with_a_head_has_its_own_metric_over_the_samples_that_have_it(planted, make_trainer, kind, metric):
    data = planted(kind, presence=True)
    seed_everything(0, verbose=False)
    model = CentralNet(data.modalities, data.target, encoder, fuse_predictions=True).eval()
    logged = make_trainer().validate(model, datamodule=data, verbose=False)[0]
    batch = data.convert(default_collate([data.dataset("val")[i] for i in range(data.size)]))
    with torch.no_grad():
        output = model(batch["inputs"], batch["presence"])
    predictions = {**output.unimodal, "central": output.central}
    assert set(predictions) == {"strong", "noise", "central"}
    for source, prediction in predictions.items():
        there = batch["presence"].get(source, slice(None))
        y, t = prediction[there], batch["target"][there]
        expected = model.task.metrics()(model.task.predict(y), t)[metric]  # torchmetrics' own
        assert logged[f"val/{metric}/{source}"] == pytest.approx(expected.item(), abs=1e-6)
