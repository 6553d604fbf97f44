"""Missing modalities: what stands in for them, what they reach, and how training drops them."""

from functools import partial
from itertools import product

import pytest
import torch
from lightning import seed_everything
from lightning.pytorch.callbacks import Callback

from fusionlit.encoders import ConvEncoder
from fusionlit.errors import ConfigError
from fusionlit.fusion import (
    Hadamard,
    WeightedSum,
)
from fusionlit.models import CentralNet, EarlyFusion, IntermediateFusion, LateFusion, TrainingConfig, Unimodal
from fusionlit.models.presence import drop
from fusionlit.types import TargetSpec

MODALITIES = {"a": (3, 16), "b": (3, 16), "c": (3, 16)}
TARGET = TargetSpec("multiclass", 2)
SUBSETS = [there for there in product([True, False], repeat=3) if any(there)]

encoder = partial(ConvEncoder, widths=(4, 8), norm="group")
unimodal_loss = TrainingConfig(unimodal_loss_weight=0.5)
STRATEGIES = {
    "early": partial(EarlyFusion, encoder=encoder),
    "early multi-task": partial(EarlyFusion, encoder=encoder, training=unimodal_loss),
    "early product": partial(EarlyFusion, encoder=encoder, fusion=Hadamard, training=unimodal_loss),
    "early weighted": partial(EarlyFusion, encoder=encoder, fusion=WeightedSum, training=unimodal_loss),
    "concat": partial(IntermediateFusion, encoder=encoder, training=unimodal_loss),
    "product": partial(IntermediateFusion, encoder=encoder, fusion=Hadamard),
    "late average": partial(LateFusion, encoder=encoder, training=unimodal_loss),
    "centralnet": partial(CentralNet, encoder=encoder),
    "unimodal": partial(Unimodal, encoder=encoder, modality="a"),
}


def build(strategy, missing="zero", **options):
    seed_everything(0, verbose=False)
    return strategy(MODALITIES, TARGET, missing=missing, normalize=False, **options)


def make_batch(size=7, presence=None):
    generator = torch.Generator().manual_seed(1)
    inputs = {name: torch.randn(size, *shape, generator=generator) for name, shape in MODALITIES.items()}
    batch = {"inputs": inputs, "target": torch.arange(size) % 2, "index": torch.arange(size)}
    return batch if presence is None else {**batch, "presence": presence}


def subsets():
    """Every non-empty subset of the modalities, one a sample."""
    return dict(zip(MODALITIES, torch.tensor(SUBSETS).unbind(1), strict=True))


def results(model, batch):
    """All that a model puts out, and the gradient of its loss."""
    model.zero_grad()
    output = model(batch["inputs"], batch["presence"])
    model.multitask_loss(output, batch)[0].backward()
    return [output.prediction, *output.unimodal.values()], {n: p.grad.clone() for n, p in model.named_parameters()}


@pytest.mark.parametrize("name", STRATEGIES)
def test_tokens_get_a_gradient_also_where_nothing_is_absent(name):
    model = build(STRATEGIES[name], "token")
    tokens = {n for n, _ in model.named_parameters() if "imputation" in n}
    assert tokens
    batch = make_batch()
    output = model(batch["inputs"])
    model.multitask_loss(output, batch)[0].backward(retain_graph=True)
    assert all(p.grad is not None for p in model.parameters())
    of_prediction = torch.autograd.grad(output.prediction.sum(), [model.get_parameter(n) for n in tokens])
    assert not any(g.any() for g in of_prediction)
    _, gradients = results(model, make_batch(presence=subsets()))
    assert all(gradients[n].any() for n in tokens)


@pytest.mark.parametrize("name", ["early multi-task", "concat", "late average", "centralnet", "unimodal"])
def test_tokens_compile_to_one_graph(name):
    model = build(STRATEGIES[name], "token").eval()
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    inputs, presence = make_batch()["inputs"], subsets()
    torch.testing.assert_close(compiled(inputs, presence).prediction, model(inputs, presence).prediction)


def test_zeros_add_nothing_to_the_state():
    assert not [key for name in STRATEGIES for key in build(STRATEGIES[name]).state_dict() if "imputation" in key]


def test_absent_sources_leave_a_weighted_average_and_tokens_stay_in_it():
    """With one member there, zeros leave its own prediction, tokens the mean with what the heads say of the tokens."""
    inputs = make_batch()["inputs"]
    only_b = {name: torch.full((len(SUBSETS),), name == "b") for name in MODALITIES}
    model = build(STRATEGIES["late average"])
    b = model.heads["b"](model.encoders["b"](inputs["b"]))
    torch.testing.assert_close(model(inputs, only_b).prediction, b)
    model = build(STRATEGIES["late average"], "token")
    said = {"b": model.heads["b"](model.encoders["b"](inputs["b"]))}
    for name in ("a", "c"):
        said[name] = model.heads[name](model.imputation.tokens[name].expand(1, 8, 4))
    torch.testing.assert_close(model(inputs, only_b).prediction, (said["a"] + said["b"] + said["c"]) / 3)


def test_a_head_sees_zeros_or_the_token_of_what_is_absent():
    inputs = make_batch()["inputs"]
    without = {"a": torch.zeros(len(SUBSETS), dtype=torch.bool)}
    with_bias = partial(Unimodal, encoder=partial(ConvEncoder, widths=(8,)), modality="a")  # zeros in, but not out
    model = build(with_bias)
    torch.testing.assert_close(model(inputs, without).prediction, model.head(torch.zeros(1, 8, 8)).expand(7, 2))
    model = build(with_bias, "token")
    token = model.imputation.tokens["a"].expand(1, 8, 8)
    torch.testing.assert_close(model(inputs, without).prediction, model.head(token).expand(7, 2))


def test_tokens_of_early_and_intermediate_fusion_are_joined_as_features():
    inputs = make_batch()["inputs"]
    no_b = {name: torch.full((len(SUBSETS),), name != "b") for name in MODALITIES}
    early = build(STRATEGIES["early"], "token")
    joined = torch.cat([inputs["a"], early.imputation.tokens["b"].expand(len(SUBSETS), 3, 16), inputs["c"]], dim=1)
    torch.testing.assert_close(early(inputs, no_b).prediction, early.head(early.encoder(joined)))
    model = build(STRATEGIES["product"], "token")
    a, c = (model.encoders[name](inputs[name]) for name in "ac")
    torch.testing.assert_close(model(inputs, no_b).prediction, model.head(a * model.imputation.tokens["b"] * c))


@pytest.mark.parametrize("missing", ["zero", "token"])
def test_centralnet_without_a_modality_is_its_equation(missing):
    """Zeros: the sum over the others, each weight over what they have; tokens: the sum with them, by their weight."""
    model = build(STRATEGIES["centralnet"], missing, source_norm=False, fuse_predictions=True)
    for operator in model.fusions.values():
        torch.nn.init.normal_(operator.weight)
    inputs = make_batch()["inputs"]
    no_b = {name: torch.full((len(SUBSETS),), name != "b") for name in MODALITIES}
    stages = iter(model.central)

    def fused(layer, sources):
        weights = model.fusions[layer].fusion_weights()
        if missing == "token":
            return sum(weights[name] * x for name, x in sources.items())
        left = sum(w for name, w in weights.items() if name != "b")
        return sum(weights[name] / left * x for name, x in sources.items() if name != "b")

    def with_token(layer, sources):
        if missing == "token":
            sources = {**sources, "b": model.imputation[layer].tokens["b"].expand_as(sources["b"])}
        return sources

    central = next(stages)(fused("inputs", with_token("inputs", inputs)))
    h = inputs
    for i, layer in enumerate(("stage1", "stage2")):
        h = with_token(layer, {name: encoder.stages[i](h[name]) for name, encoder in model.encoders.items()})
        central = fused(layer, {"central": central, **h})
        central = next(stages, torch.nn.Identity())(central)
    predictions = {name: head(h[name]) for name, head in model.heads.items()}
    expected = fused("prediction", {"central": model.central_head(central), **predictions})
    torch.testing.assert_close(model(inputs, no_b).prediction, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("missing", ["zero", "token"])
@pytest.mark.parametrize("name", ["early multi-task", "early product", "early weighted"])
def test_a_unimodal_prediction_of_early_fusion_is_that_without_the_others(missing, name):
    model = build(STRATEGIES[name], missing).eval()
    inputs = make_batch()["inputs"]
    unimodal = model(inputs).unimodal
    for modality, prediction in unimodal.items():
        alone = {other: torch.full((len(SUBSETS),), other == modality) for other in MODALITIES}
        torch.testing.assert_close(prediction, model(inputs, alone).prediction)


# Modality dropout


def expected_shares(there, probability):
    """Probability of every subset that `drop` may leave of the modalities `there`, written out."""
    names = [name for name, is_there in zip(MODALITIES, there, strict=True) if is_there]
    shares = {}
    for kept in product([True, False], repeat=len(names)):
        p = 1.0
        for name, stays in zip(names, kept, strict=True):
            p *= 1 - probability[name] if stays else probability[name]
        left = [frozenset(n for n, stays in zip(names, kept, strict=True) if stays)]
        left = left if any(kept) else [frozenset([name]) for name in names]
        for subset in left:
            shares[subset] = shares.get(subset, 0.0) + p / len(left)
    return shares


@pytest.mark.parametrize("probability", [{"a": 0.9, "b": 0.8, "c": 0.4}, {"a": 0.5, "b": 0.0, "c": 0.7}])
def test_each_subset_is_left_as_often_as_the_probabilities_say(probability):
    seed_everything(0, verbose=False)
    draws = 40_000
    for there in SUBSETS:
        presence = {name: torch.full((draws,), x) for name, x in zip(MODALITIES, there, strict=True)}
        kept = torch.stack(list(drop(presence, probability).values()), dim=1)
        shares = expected_shares(there, probability)
        assert sum(shares.values()) == pytest.approx(1)
        for pattern in product([True, False], repeat=3):
            subset = frozenset(name for name, x in zip(MODALITIES, pattern, strict=True) if x)
            counted = (kept == torch.tensor(pattern)).all(1).double().mean().item()
            p = shares.get(subset, 0.0)
            assert abs(counted - p) <= 5 * (p * (1 - p) / draws) ** 0.5, (there, subset)


def test_samples_are_drawn_one_by_one_and_nothing_comes_back():
    seed_everything(0, verbose=False)
    presence = {name: there.repeat(200) for name, there in subsets().items()}
    presence = {name: torch.cat([there, torch.zeros(5, dtype=torch.bool)]) for name, there in presence.items()}
    kept = drop(presence, dict.fromkeys(MODALITIES, 0.9))
    there, left = (torch.stack(list(p.values()), dim=1) for p in (presence, kept))
    assert not (left & ~there).any()
    assert torch.equal(left.any(1), there.any(1))
    assert left[::7].sum(1).float().std() > 0
    seed_everything(0, verbose=False)
    again = drop(presence, dict.fromkeys(MODALITIES, 0.9))
    assert all(torch.equal(kept[name], again[name]) for name in MODALITIES)


def test_only_training_with_a_probability_drops():
    model = build(STRATEGIES["concat"])
    batch, state = make_batch(), torch.get_rng_state()
    assert model.modality_dropout(batch) is batch
    model = build(partial(IntermediateFusion, encoder=encoder, training=TrainingConfig(modality_dropout=0.5)))
    state = torch.get_rng_state()
    assert model.eval().modality_dropout(batch) is batch
    torch.testing.assert_close(model.train()(batch["inputs"]), model.eval()(batch["inputs"]))
    assert torch.equal(torch.get_rng_state(), state)
    dropped = model.train().modality_dropout(batch)
    assert "presence" not in batch
    assert not torch.stack(list(dropped["presence"].values())).all()


def test_one_probability_a_modality_leaves_the_others():
    training = TrainingConfig(modality_dropout={"b": 0.9})
    model = build(partial(IntermediateFusion, encoder=encoder, training=training))
    presence = model.modality_dropout(make_batch(200, {"c": torch.zeros(200, dtype=torch.bool)}))["presence"]
    assert list(presence) == list(MODALITIES)
    assert presence["a"].all()
    assert not presence["c"].any()
    assert 0 < presence["b"].sum() < 100


class Reseed(Callback):
    """The same draw in a training step and beside it."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        torch.manual_seed(3)
        self.batch = batch


def test_what_is_dropped_counts_in_no_unimodal_loss(planted, make_trainer):
    training = TrainingConfig(
        optimizer=partial(torch.optim.SGD, lr=0.0),
        modality_dropout=0.5,
        unimodal_loss_weight={"strong": 2.0, "noise": 0.5},
    )
    data = planted(size=16, presence=True)
    model = IntermediateFusion(data.modalities, data.target, encoder, training=training, missing="token")
    reseed = Reseed()
    trainer = make_trainer(callbacks=[reseed], limit_val_batches=0)
    trainer.fit(model, datamodule=data)
    logged, batch = trainer.callback_metrics, reseed.batch
    torch.manual_seed(3)
    there = model.train().modality_dropout(batch)["presence"]
    assert not there["strong"].all()
    assert not (there["noise"] & ~batch["presence"]["noise"]).any()
    output = model(batch["inputs"], there)
    cross_entropy = torch.nn.functional.cross_entropy
    torch.testing.assert_close(logged["train/loss"], cross_entropy(output.prediction, batch["target"]))
    for name, prediction in output.unimodal.items():
        expected = cross_entropy(prediction[there[name]], batch["target"][there[name]])
        torch.testing.assert_close(logged[f"train/unimodal_loss/{name}"], expected)


@pytest.mark.parametrize(
    ("dropout", "message"),
    [
        ({"radar": 0.5}, "Expected the keys of `modality_dropout` to be among ['a', 'b', 'c'], but got ['radar']."),
        (1.0, "Expected `modality_dropout` to be in [0, 1), but got {'a': 1.0, 'b': 1.0, 'c': 1.0}."),
        ({"a": 0.5, "b": -0.1}, "Expected `modality_dropout` to be in [0, 1), but got {'b': -0.1}."),
        ({"c": float("nan")}, "Expected `modality_dropout` to be in [0, 1), but got {'c': nan}."),
    ],
)
def test_impossible_probabilities_are_refused(dropout, message):
    with pytest.raises(ConfigError) as caught:
        CentralNet(MODALITIES, TARGET, encoder, training=TrainingConfig(modality_dropout=dropout))
    assert str(caught.value) == message


@pytest.mark.parametrize("strategy", [EarlyFusion, IntermediateFusion, LateFusion, CentralNet])
def test_an_unknown_stand_in_is_refused(strategy):
    with pytest.raises(ConfigError, match=r"Expected `missing` to be one of \('zero', 'token'\), but got 'mean'"):
        strategy(MODALITIES, TARGET, encoder=encoder, missing="mean")


def test_names_that_hold_parameters_are_refused():
    with pytest.raises(ConfigError, match=r"the attributes of torch.nn.ModuleDict and ParameterDict, but got 'copy'"):
        IntermediateFusion({"copy": (3, 16)}, TARGET)


# Command line and checkpoints


@pytest.mark.parametrize("given", ["0.5", '{"rgb": 0.5}'])
def test_yaml_takes_both_forms_and_the_checkpoint_loads_alone(fusionlit, shapes, tmp_path, given):
    model = ["--model=CentralNet", "--model.missing=token", f"--model.training.modality_dropout={given}"]
    model += ["--model.encoder=ConvEncoder", "--model.encoder.widths=[4]"]
    data = ["--data=ReplicatorDataModule", f"--data.root={shapes}"]
    fusionlit(
        "fit", *data, *model, "--trainer.max_epochs=1", "--trainer.limit_train_batches=2", "--trainer.logger=false"
    )
    (path,) = tmp_path.rglob("best.ckpt")
    loaded = CentralNet.load_from_checkpoint(path)
    assert loaded.drop_probabilities == {"rgb": 0.5, "lidar": 0.5 if given == "0.5" else 0.0}
    saved = torch.load(path, weights_only=True)["state_dict"]
    key = "imputation.stage1.tokens.lidar"
    assert torch.equal(loaded.state_dict()[key], saved[key])
