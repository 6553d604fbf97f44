"""The L1 penalty on raw fusion weights."""

import re
from functools import partial

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from fusionlit.encoders import MLPEncoder
from fusionlit.errors import ConfigError
from fusionlit.fusion import Concat, FusionOperator, WeightedSum
from fusionlit.models import CentralNet, IntermediateFusion, LateFusion, TrainingConfig

ENCODER = partial(MLPEncoder, widths=[4, 4])
SGD = partial(torch.optim.SGD, lr=0.01)


class BySign(Callback):
    """The penalty by its gradient, `factor * sign(a)`."""

    def __init__(self, factor):
        self.factor = factor

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        for operator in pl_module.fusion_layers().values():
            for weight in operator.fusion_parameters():
                weight.grad += self.factor * weight.detach().sign()


def train(data, trainer, factor, weights="raw"):
    torch.manual_seed(0)
    training = TrainingConfig(SGD, fusion_l1=factor, fusion_lr_mult=10)
    model = CentralNet(data.modalities, data.target, ENCODER, weights=weights, training=training)
    trainer.fit(model, data)
    return model


def test_the_penalty_pulls_by_the_sign_of_each_weight(planted, make_trainer):
    ours = train(planted(), make_trainer(max_epochs=3), 0.5)
    oracle = train(planted(), make_trainer(max_epochs=3, callbacks=[BySign(0.5)]), 0.0)
    torch.testing.assert_close(ours.state_dict(), oracle.state_dict())
    free = train(planted(), make_trainer(max_epochs=3), 0.0)
    total = [
        sum(weight.abs().item() for sources in model.fusion_weights().values() for weight in sources.values())
        for model in (ours, free)
    ]
    assert total[0] < 0.9 * total[1]


def test_the_penalty_is_logged_and_no_part_of_the_task_s_loss(planted, make_trainer):
    trainer = make_trainer(limit_train_batches=1)
    train(planted(), trainer, 0.5)
    logged = {name: x.item() for name, x in trainer.callback_metrics.items() if name.startswith("train/")}
    # Three layers begin with weights that add up to 1 each.
    assert logged["train/fusion_l1"] == pytest.approx(0.5 * 3)
    free = make_trainer(limit_train_batches=1)
    train(planted(), free, 0.0)
    assert "train/fusion_l1" not in free.callback_metrics
    assert logged["train/loss"] == pytest.approx(free.callback_metrics["train/loss"].item())


class Scaled(FusionOperator):
    """A user's own operator, whose weights are its parameters, one each."""

    def __init__(self, shapes):
        super().__init__(shapes)
        self.scales = torch.nn.ParameterDict({source: torch.ones(()) for source in shapes})

    @property
    def out_shape(self):
        return self.common_shape()

    def forward(self, features, presence=None):
        return sum(self.scales[source] * x for source, x in features.items())

    def fusion_weights(self):
        return dict(self.scales.items())

    def fusion_parameters(self):
        return self.scales.values()


@pytest.mark.parametrize("fusion", [Scaled, partial(WeightedSum, weights="raw")])
def test_other_raw_weights_are_penalised_too(planted, make_trainer, fusion):
    data = planted()
    training = TrainingConfig(SGD, fusion_l1=0.1)
    model = IntermediateFusion(data.modalities, data.target, ENCODER, fusion=fusion, training=training)
    trainer = make_trainer(limit_train_batches=1)
    trainer.fit(model, data)
    expected = 0.2 if fusion is Scaled else 0.1
    assert trainer.callback_metrics["train/fusion_l1"].item() == pytest.approx(expected)


@pytest.mark.parametrize("weights", ["softmax", "sigmoid"])
def test_weights_that_are_made_of_their_parameters_are_refused(planted, make_trainer, weights):
    said = (
        "Expected raw fusion weights for `fusion_l1`, but those of ['inputs', 'stage1', 'stage2'] are"
        " functions of their parameters, such as a softmax, and would not shrink with them. Set"
        " `weights: raw`, or leave it out."
    )
    with pytest.raises(ConfigError, match=re.escape(said)):
        train(planted(), make_trainer(), 0.1, weights)


def test_a_model_without_raw_weights_is_refused(planted, make_trainer):
    data, training = planted(), TrainingConfig(fusion_l1=0.1)
    averaged = LateFusion(data.modalities, data.target, ENCODER, training=training)
    with pytest.raises(ConfigError, match="Expected raw fusion weights for `fusion_l1`, but those of"):
        make_trainer().fit(averaged, data)
    joined = IntermediateFusion(data.modalities, data.target, ENCODER, fusion=Concat, training=training)
    with pytest.raises(ConfigError, match="Expected fusion weights for `fusion_l1`, but this model has none"):
        make_trainer().fit(joined, data)


def test_a_negative_factor_is_refused():
    with pytest.raises(ConfigError, match=r"Expected `fusion_l1` to be a number >= 0, but got -1\.0"):
        TrainingConfig(fusion_l1=-1.0)
