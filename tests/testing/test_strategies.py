"""The strategies' contract: each law finds a strategy that breaks it, and none of ours does."""

import json
from functools import partial
from typing import get_args

import pytest
import torch
from torch import nn

import fusionlit.models
from fusionlit.encoders import ConvEncoder, MLPHead
from fusionlit.fusion import Add, Concat, CrossModalAttention, GatedFusion, Hadamard, WeightedAverage, WeightedSum
from fusionlit.models import (
    CentralNet,
    EarlyFusion,
    Ensemble,
    FusionModule,
    Imputation,
    IntermediateFusion,
    LateFusion,
    TrainingConfig,
    Unimodal,
)
from fusionlit.testing import BrokenLawError, absence, check_strategy, laws, strategies
from fusionlit.types import FusionOutput, Shape, TargetKind, TargetSpec

encoder = partial(ConvEncoder, widths=(4, 8), norm="group")
unimodal_loss = TrainingConfig(unimodal_loss_weight=0.5)
OURS = {
    "early": partial(EarlyFusion, encoder=encoder),
    "early multi-task": partial(EarlyFusion, encoder=encoder, training=unimodal_loss),
    "early product": partial(EarlyFusion, encoder=encoder, fusion=Hadamard, training=unimodal_loss),
    "early weighted": partial(EarlyFusion, encoder=encoder, fusion=WeightedSum, training=unimodal_loss),
    "early gated": partial(EarlyFusion, encoder=encoder, fusion=GatedFusion, training=unimodal_loss),
    "concat": partial(IntermediateFusion, encoder=encoder),
    "concat multi-task": partial(IntermediateFusion, encoder=encoder, training=unimodal_loss),
    "sum": partial(IntermediateFusion, encoder=encoder, fusion=Add),
    "product": partial(IntermediateFusion, encoder=encoder, fusion=Hadamard),
    "weighted sum": partial(IntermediateFusion, encoder=encoder, fusion=WeightedSum),
    "projected": partial(
        IntermediateFusion,
        encoders={n: partial(ConvEncoder, widths=(w,)) for n, w in {"a": 4, "b": 6, "c": 8}.items()},
        fusion=WeightedSum,
    ),
    "cross-modal": partial(IntermediateFusion, encoder=encoder, fusion=partial(CrossModalAttention, width=4, heads=2)),
    "half-way": partial(IntermediateFusion, encoder=encoder, stage=1, trunk=encoder),
    "late average": partial(LateFusion, encoder=encoder, training=unimodal_loss),
    "late mixture": partial(LateFusion, encoder=encoder, fusion=partial(WeightedAverage, of="probabilities")),
    "late concat": partial(LateFusion, encoder=encoder, fusion=Concat),
    "late gated": partial(LateFusion, encoder=encoder, fusion=GatedFusion),
    "late embedding": partial(LateFusion, encoder=encoder, embedding=3, fusion=Concat, training=unimodal_loss),
    "centralnet": partial(CentralNet, encoder=encoder),
    "centralnet without inputs": partial(CentralNet, encoder=encoder, fuse_inputs=False),
    "centralnet raw": partial(CentralNet, encoder=encoder, weights="raw", source_norm=False),
    "centralnet, batch norm": partial(CentralNet, encoder=partial(ConvEncoder, widths=(4, 8), norm="batch")),
    "unimodal": partial(Unimodal, encoder=encoder, modality="a"),
}


@pytest.mark.parametrize("missing", ["token", pytest.param("zero", marks=pytest.mark.soak)])
@pytest.mark.parametrize("name", OURS)
def test_ours_keep_every_law(name, missing):
    check_strategy(partial(OURS[name], missing=missing))


@pytest.mark.parametrize("name", OURS)
def test_ours_keep_every_law_but_that_of_one_graph_with_zeros(name):
    """That one takes longest; the tests below try it with zeros on one of each kind, `make soak` on all."""
    case = strategies.StrategyCase(partial(OURS[name], missing="zero"), strategies.MODALITIES, strategies.TWO_CLASSES)
    laws.uphold(case, [law for law in strategies.LAWS if law is not laws.compiles_to_one_graph])


@pytest.mark.parametrize("name", ["early", "late average", "centralnet", "weighted sum", "unimodal"])
def test_one_modality_is_enough(name):
    check_strategy(OURS[name], {"a": (3, 16)})


@pytest.mark.parametrize(
    "training",
    [TrainingConfig(frozen_fusion_epochs=2), TrainingConfig(scheduler=torch.optim.lr_scheduler.ReduceLROnPlateau)],
    ids=["frozen weights", "plateau"],
)
def test_ways_of_training_are_no_matter(training):
    check_strategy(partial(OURS["weighted sum"], training=training))


@pytest.mark.parametrize("kind", get_args(TargetKind))
def test_ours_keep_every_law_for_every_target(kind):
    check_strategy(OURS["concat"], {"a": (3, 16), "b": (2, 12, 12)}, TargetSpec(kind, 1 if kind == "binary" else 3))


def ensemble(modalities: dict[str, Shape], target: TargetSpec) -> Ensemble:
    """Two members as a checkpoint has them, and so with weights of their own."""
    member = partial(CentralNet, encoder=encoder)(modalities, target)
    config = {"_class_path": "fusionlit.models.CentralNet", **member.hparams}
    return Ensemble(modalities, target, [json.dumps(config)] * 2)


@pytest.mark.parametrize("law", strategies.LAWS, ids=lambda law: law.__name__)
def test_an_ensemble_keeps_every_law_but_those_of_training(law):
    case = strategies.StrategyCase(ensemble, strategies.MODALITIES, strategies.TWO_CLASSES)
    if law in (strategies.no_module_is_skipped, strategies.it_trains_and_its_checkpoint_loads_alone):
        # There is nothing to train; that its checkpoint loads alone is tested in tests/models/test_ensemble.py.
        with pytest.raises(BrokenLawError, match=r"does not require grad|Nothing in this model is trainable"):
            laws.uphold(case, [law])
    else:
        laws.uphold(case, [law])


def test_none_of_ours_is_left_out():
    offered = {value for value in vars(fusionlit.models).values() if isinstance(value, type)}
    concrete = {value for value in offered if issubclass(value, FusionModule)} - {FusionModule}
    assert concrete == {factory.func for factory in OURS.values()} | {Ensemble}


class Joined(FusionModule):
    """What the broken ones are made from; it breaks no law."""

    def __init__(self, modalities: dict[str, Shape], target: TargetSpec):
        super().__init__(modalities, target, training=TrainingConfig(unimodal_loss_weight=1.0))
        self.encoders = nn.ModuleDict({name: encoder(shape) for name, shape in self.shapes.items()})
        shapes = {name: e.out_shape for name, e in self.encoders.items()}
        self.imputation = Imputation(shapes, "zero")
        self.fusion = WeightedSum(shapes)
        self.head = MLPHead(self.fusion.out_shape, target.size)
        self.heads = nn.ModuleDict({name: MLPHead(shape, target.size) for name, shape in shapes.items()})

    def fusion_layers(self):
        return {"fusion": self.fusion}

    def fuse(self, inputs, presence):
        features, presence = self.imputation(self.encode(inputs), presence)
        fused, energy = self.fuse_at("fusion", features, presence)
        return FusionOutput(self.head(fused), self.alone(features), energy)

    def encode(self, inputs):
        return {name: e(inputs[name]) for name, e in self.encoders.items()}

    def alone(self, features):
        return {name: head(features[name]) for name, head in self.heads.items()}


def test_the_joined_one_itself_keeps_every_law():
    check_strategy(Joined)


class NoStrategy(nn.Linear):
    def __init__(self, modalities, target):
        super().__init__(1, target.size)


class Logarithm(Joined):
    def fuse(self, inputs, presence):
        output = super().fuse(inputs, presence)
        return output._replace(prediction=output.prediction.log())


class WrongSize(Joined):
    def alone(self, features):
        return {name: prediction[:, :1] for name, prediction in super().alone(features).items()}


class Strangers(Joined):
    def alone(self, features):
        return {f"{name}_head": prediction for name, prediction in super().alone(features).items()}


class Squeezes(Joined):
    def fuse(self, inputs, presence):
        output = super().fuse(inputs, presence)
        return output._replace(prediction=output.prediction.squeeze(0))


class PlainDict(Joined):
    def __init__(self, modalities: dict[str, Shape], target: TargetSpec):
        super().__init__(modalities, target)
        self.more = {"head": MLPHead(self.fusion.out_shape, target.size)}


class Strange(Joined):
    def fusion_layers(self):
        return {"fusion": WeightedSum(self.fusion.shapes).to(self.fusion.weight.dtype)}


class Counts(Joined):
    def __init__(self, modalities: dict[str, Shape], target: TargetSpec):
        super().__init__(modalities, target)
        self.register_buffer("calls", torch.zeros(()))

    def fuse(self, inputs, presence):
        self.calls += 1
        return super().fuse(inputs, presence)


class Centred(Joined):
    def encode(self, inputs):
        return super().encode({name: x - x.mean(0) for name, x in inputs.items()})


class ByPosition(Joined):
    def forward(self, inputs, presence=None):
        return super().forward(dict(zip(self.modalities, inputs.values(), strict=True)), presence)


class DrawnScale(Joined):
    def __init__(self, modalities: dict[str, Shape], target: TargetSpec):
        super().__init__(modalities, target)
        self.scale = float(torch.rand(()))

    def encode(self, inputs):
        return super().encode({name: self.scale * x for name, x in inputs.items()})


class Unused(Joined):
    def __init__(self, modalities: dict[str, Shape], target: TargetSpec):
        super().__init__(modalities, target)
        self.extra = MLPHead(self.fusion.out_shape, target.size)


class OneAlphaTwice(Joined):
    def __init__(self, modalities: dict[str, Shape], target: TargetSpec):
        super().__init__(modalities, target)
        self.fusion = Twice(self.fusion.shapes)


class Twice(WeightedSum):
    def alpha(self):
        alpha = self.weight.exp()
        return torch.cat([alpha[:-1], alpha[:1]])


class Counted(Joined):
    def fuse(self, inputs, presence):
        output = super().fuse(inputs, presence)
        return output if presence is None else output._replace(prediction=2 * output.prediction)


class NoImputation(Joined):
    """Zeros come in, but not out: the encoder has a bias."""

    def fuse(self, inputs, presence):
        features = {name: x + inputs[name].sum((1, 2))[:, None, None] for name, x in self.encode(inputs).items()}
        fused, energy = self.fuse_at("fusion", features, presence)
        return FusionOutput(self.head(fused), self.alone(features), energy)

    def forward(self, inputs, presence=None):
        return self.fuse({name: inputs[name] for name in self.modalities}, presence)


class SharesAbsence(Joined):
    def fuse(self, inputs, presence):
        if presence is not None:
            presence = {name: there & there.all() for name, there in presence.items()}
        return super().fuse(inputs, presence)


class NotAlone(Joined):
    def fuse(self, inputs, presence):
        output = super().fuse(inputs, presence)
        if presence is None:
            return output
        others = torch.stack(list(presence.values())).sum(0) - 1
        return output._replace(prediction=output.prediction * 2 / others[:, None])


class Skips(Joined):
    def alone(self, features):
        if self.training:
            features = {name: x for name, x in features.items() if x.any()}
        return {name: self.heads[name](x) for name, x in features.items()}


class AlwaysMeasures(Joined):
    def fuse(self, inputs, presence):
        energy = {"fusion": self.fusion.energy(self.encode(inputs), presence)}
        return super().fuse(inputs, presence)._replace(energy=energy)


class NeverMeasures(Joined):
    def fuse(self, inputs, presence):
        return super().fuse(inputs, presence)._replace(energy=None)


class OwnSteps(Joined):
    """Its optimizer leaves the heads out."""

    def configure_optimizers(self):
        return torch.optim.Adam([*self.encoders.parameters(), *self.fusion.parameters()], lr=1e-3)


class Untyped(Joined):
    """A checkpoint's configuration becomes objects again by the annotations."""

    def __init__(self, modalities, target):
        super().__init__(modalities, target)


class Forgets(Joined):
    """What it is built from comes from elsewhere."""

    scale = 1.0

    def __init__(self, modalities: dict[str, Shape], target: TargetSpec):
        super().__init__(modalities, target)
        type(self).scale = 3.0 - self.scale  # 1, 2, 1, 2, ...
        self.own = self.scale

    def encode(self, inputs):
        return super().encode({name: ((self.own if self.trained() else 1.0) * x).sin() for name, x in inputs.items()})

    def trained(self):
        return next(self.parameters()).dtype == torch.float32


class Branches(Joined):
    def fuse(self, inputs, presence):
        output = super().fuse(inputs, presence)
        return output if output.prediction.sum() > 0 else output._replace(prediction=output.prediction * 1)


BROKEN = {
    NoStrategy: (strategies.it_is_a_strategy, "it is a NoStrategy"),
    Logarithm: (laws.the_result_is_finite, "values are not finite. Look for a logarithm, root or quotient"),
    WrongSize: (
        strategies.it_predicts_every_kind_of_target,
        "it raised ConfigError: Expected the head of a to return",
    ),
    Strangers: (
        strategies.it_predicts_every_kind_of_target,
        "unimodal predictions name ['a_head', 'b_head', 'c_h",
    ),
    Squeezes: (laws.a_batch_of_one_stays_one, "it raised ConfigError: Expected the head of Squeezes"),
    PlainDict: (
        laws.everything_is_registered,
        "`more` of PlainDict holds a MLPHead in a plain dict: use nn.Module",
    ),
    Strange: (strategies.layers_are_its_modules, "those of ['fusion'] are not. Keep them as attributes"),
    Counts: (laws.evaluation_changes_nothing, "it changed its own ['calls']"),
    Centred: (laws.samples_do_not_mix, "the first of 6 samples gives a different result alone"),
    ByPosition: (laws.order_of_the_inputs_does_not_matter, "when the dict of its inputs is reversed"),
    DrawnScale: (laws.state_dict_is_whole, "Store random values drawn in __init__"),
    Unused: (strategies.every_parameter_gets_a_gradient, "it does not depend on parameter `extra.layers."),
    OneAlphaTwice: (strategies.every_parameter_gets_a_gradient, "it does not depend on parameter `fusion.weight`"),
    Counted: (absence.presence_of_all_is_no_presence, "the results differ."),
    NoImputation: (
        absence.absent_content_reaches_nothing,
        "nan in a missing source changes the result. In an operator, get",
    ),
    SharesAbsence: (absence.absence_is_each_samples_own, "in evaluation mode, the result of a sample that has ['a', "),
    NotAlone: (absence.every_subset_is_answered, "with only ['a'], the"),
    Skips: (
        strategies.no_module_is_skipped,
        "with only ['a', 'b'], ['heads.c.layers.1.weight', 'heads.c.lay",
    ),
    AlwaysMeasures: (strategies.energies_are_returned_while_measuring, "it always returns them, which slows training"),
    NeverMeasures: (
        strategies.energies_are_returned_while_measuring,
        "it returns those of [], but the layers with energy are ['fusion']",
    ),
    OwnSteps: (strategies.it_trains_and_its_checkpoint_loads_alone, "no optimizer includes ['head.layers.1.weight'"),
    Untyped: (strategies.it_trains_and_its_checkpoint_loads_alone, "annotate it as `target: TargetSpec`"),
    Forgets: (strategies.it_trains_and_its_checkpoint_loads_alone, "the loaded model predicts something else"),
    Branches: (laws.compiles_to_one_graph, "it raised"),
}


@pytest.mark.parametrize("strategy", BROKEN)
def test_a_broken_law_is_named(strategy):
    law, detail = BROKEN[strategy]
    with pytest.raises(BrokenLawError) as caught:
        check_strategy(strategy)
    assert caught.value.law is law
    message = str(caught.value)
    assert message.startswith(f"{strategy.__name__} breaks a law. {' '.join(law.__doc__.split())} But ")
    assert detail in message


def test_no_law_is_without_a_broken_strategy():
    assert {law for law, _ in BROKEN.values()} == set(strategies.LAWS)
