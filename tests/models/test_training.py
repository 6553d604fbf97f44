"""The fusion weights' own group, under every scheduler."""

import copy
from functools import partial

import pytest
import torch
from lightning import seed_everything
from lightning.pytorch.callbacks import Callback
from torch.optim import lr_scheduler

from fusionlit.encoders import ConvEncoder
from fusionlit.errors import ConfigError
from fusionlit.models import OGMGE, CentralNet, TrainingConfig
from fusionlit.types import TargetSpec

encoder = partial(ConvEncoder, widths=(4, 8))
SCHEDULERS = {
    "none": None,
    "one cycle": partial(lr_scheduler.OneCycleLR, max_lr=0.1, total_steps=12),
    "cyclic": partial(lr_scheduler.CyclicLR, base_lr=0.001, max_lr=0.1, step_size_up=3, cycle_momentum=False),
    "cosine": partial(lr_scheduler.CosineAnnealingLR, T_max=12, eta_min=0.001),
    "exponential": partial(lr_scheduler.ExponentialLR, gamma=0.5),
    "warm restarts": partial(lr_scheduler.CosineAnnealingWarmRestarts, T_0=3),
    "plateau": partial(lr_scheduler.ReduceLROnPlateau, patience=0, factor=0.1, min_lr=0.005, mode="max"),
}


class Rates(Callback):
    def __init__(self):
        self.rates = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.rates.append([group["lr"] for group in optimizer.param_groups])


@pytest.mark.parametrize("name", SCHEDULERS)
def test_fusion_weights_keep_their_multiple_at_every_step(planted, make_trainer, name):
    interval = "epoch" if name == "plateau" else "step"
    optimizer = partial(torch.optim.AdamW, lr=0.01, weight_decay=0.5)
    training = TrainingConfig(optimizer, SCHEDULERS[name], interval=interval, monitor="val/loss", fusion_lr_mult=30)
    data, watch = planted(), Rates()
    model = CentralNet(data.modalities, data.target, encoder, training=training)
    trainer = make_trainer(max_epochs=3, callbacks=[watch])
    trainer.fit(model, datamodule=data)
    assert len(watch.rates) == 12
    for main, fusion in watch.rates:
        assert fusion == pytest.approx(30 * main)
    if name != "none":
        assert len({main for main, _ in watch.rates}) > 1
    groups = trainer.optimizers[0].param_groups
    assert [group["weight_decay"] for group in groups] == [0.5, 0.0]
    assert sum(p.numel() for p in groups[1]["params"]) == 2 + 3 + 3


def test_every_parameter_is_in_one_group(planted):
    data = planted()
    model = CentralNet(data.modalities, data.target, encoder)
    grouped = [id(p) for group in model.configure_optimizers().param_groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters())


def test_fusion_weights_move_with_their_own_rate_and_hardly_without(planted, make_trainer):
    moved = {}
    for mult in (1.0, 30.0):
        seed_everything(0, verbose=False)
        data = planted()
        model = CentralNet(data.modalities, data.target, encoder, training=TrainingConfig(fusion_lr_mult=mult))
        make_trainer(max_epochs=6).fit(model, datamodule=data)
        moved[mult] = max((w - 1 / len(s)).abs().item() for s in model.fusion_weights().values() for w in s.values())
    assert moved[30.0] > 5 * moved[1.0]


def test_nothing_to_train_is_refused():
    with pytest.raises(ConfigError, match="run `fusionlit test` on it instead of `fit`"):
        TrainingConfig().make_optimizer([], [])


LBFGS = partial(torch.optim.LBFGS, lr=0.1, max_iter=4)


def test_lbfgs_trains_fusion_weights_at_the_rate_of_all_others(planted, make_trainer):
    data = planted(batch_size=64)
    training = TrainingConfig(LBFGS, fusion_held_out=0.0, unimodal_loss_weight=1.0)
    model, watch = CentralNet(data.modalities, data.target, encoder, training=training), Rates()
    batch = data.convert(next(iter(data.val_dataloader())))
    before = model.multitask_loss(model.eval()(batch["inputs"]), batch)[0]
    one_group = r"LBFGS has a single parameter group: .* and `fusion_lr_mult` \(50\) is ignored"
    with pytest.warns(UserWarning, match=one_group):
        make_trainer(max_epochs=4, callbacks=[watch]).fit(model.train(), datamodule=data)
    assert model.multitask_loss(model.eval()(batch["inputs"]), batch)[0] < before
    assert watch.rates == [[0.1]] * len(watch.rates)
    assert all(p.any() for op in model.fusion_layers().values() for p in op.fusion_parameters())  # they began at 0


@pytest.mark.filterwarnings("ignore:LBFGS has a single parameter group")
@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({}, "LBFGS searches along .* `fusion_held_out` replaces: set `training.fusion_held_out` to 0"),
        ({"fusion_held_out": 0.0, "balance": OGMGE}, "`balance` replaces: set `training.balance` to null"),
        ({"frozen_fusion_epochs": 2}, "LBFGS has a single parameter group, .* set `frozen_fusion_epochs` to 0"),
        ({"optimizer": torch.optim.Muon}, r"it raised: Muon only supports 2D parameters"),
    ],
)
def test_what_an_optimizer_cannot_do_is_refused(planted, make_trainer, training, message):
    data = planted()
    model = CentralNet(
        data.modalities, data.target, encoder, training=TrainingConfig(**{"optimizer": LBFGS, **training})
    )
    with pytest.raises(ConfigError, match=message):
        make_trainer().fit(model, datamodule=data)


def test_frozen_fusion_weights_move_only_when_their_epochs_are_over(planted, make_trainer):
    class Weights(Callback):
        def __init__(self):
            self.moved = []

        def on_train_epoch_end(self, trainer, pl_module):
            self.moved.append(any(p.any() for op in pl_module.fusion_layers().values() for p in op.fusion_parameters()))

    data, watch = planted(), Weights()
    model = CentralNet(data.modalities, data.target, encoder, training=TrainingConfig(frozen_fusion_epochs=2))
    make_trainer(max_epochs=3, callbacks=[watch]).fit(model, datamodule=data)
    assert watch.moved == [False, False, True]  # a softmax begins at zeros


@pytest.mark.parametrize("mult", [-30.0, float("nan"), float("inf")])
def test_a_rate_that_cannot_be_is_refused(mult):
    with pytest.raises(ConfigError, match="Expected `fusion_lr_mult` to be a number >= 0, but got"):
        TrainingConfig(fusion_lr_mult=mult)


@pytest.mark.parametrize("optimizer", [None, partial(torch.optim.AdamW, lr=0.01, weight_decay=0.1)])
def test_adam_is_fused_and_the_same(optimizer):
    """In float64 and channels-last, against torch's plain loop over the parameters."""
    torch.manual_seed(0)
    shapes = {"a": (3, 8, 8), "b": (3, 8, 8)}
    model = CentralNet(
        shapes, TargetSpec("regression", 2), encoder, training=TrainingConfig(optimizer), normalize=False
    )
    plain = copy.deepcopy(model)
    optimizers = [each.double().configure_optimizers() for each in (model, plain)]
    assert [group["fused"] for group in optimizers[0].param_groups] == [True, True]
    for group in optimizers[1].param_groups:
        group["fused"] = False
    inputs = {name: torch.randn(5, *shape, dtype=torch.float64) for name, shape in shapes.items()}
    for _ in range(3):
        for each, steps in zip((model, plain), optimizers, strict=True):
            steps.zero_grad()
            each(inputs).prediction.square().sum().backward()
            steps.step()
    torch.testing.assert_close(model.state_dict(), plain.state_dict(), atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize(
    "optimizer",
    [
        partial(torch.optim.SGD, lr=0.1),
        partial(torch.optim.Adam, fused=False),
        partial(torch.optim.Adam, foreach=True),
        partial(torch.optim.Adam, capturable=True),
        torch.optim.Adamax,
    ],
)
def test_what_is_said_of_an_optimizer_stands(optimizer):
    made = TrainingConfig(optimizer).make_optimizer([torch.nn.Parameter(torch.ones(2))], [])
    assert not made.param_groups[0].get("fused")


def test_loaded_state_lies_in_memory_as_its_parameter():
    """The fused kernel does not look at strides: a state of other ones would be that of other weights."""
    torch.manual_seed(0)
    start, gradients = torch.randn(4, 3, 2, 5), torch.randn(2, 4, 3, 2, 5)

    def step(parameter, optimizer, gradient):
        parameter.grad = torch.empty_like(parameter).copy_(gradient)
        optimizer.step()

    before = torch.nn.Parameter(start.clone())
    first = TrainingConfig().make_optimizer([before], [])
    step(before, first, gradients[0])
    after = torch.nn.Parameter(before.detach().clone(memory_format=torch.channels_last))
    second = TrainingConfig().make_optimizer([after], [])
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    step(before, first, gradients[1])
    step(after, second, gradients[1])
    assert after.stride() != before.stride()
    torch.testing.assert_close(after, before)


def test_convolutions_are_channels_last_and_compute_the_same():
    torch.manual_seed(0)
    shapes = {"rgb": (4, 16, 16), "lidar": (4, 16, 16)}
    model = CentralNet(shapes, TargetSpec("multiclass", 3), encoder).eval()
    convolutions = [module for module in model.modules() if isinstance(module, torch.nn.Conv2d)]
    assert len(convolutions) == 5
    assert all(module.weight.is_contiguous(memory_format=torch.channels_last) for module in convolutions)
    inputs = {name: torch.randn(5, *shape) for name, shape in shapes.items()}
    stage = model.encoders["rgb"].stages[0](inputs["rgb"])
    assert stage.is_contiguous(memory_format=torch.channels_last)
    contiguous = copy.deepcopy(model).to(memory_format=torch.contiguous_format)
    torch.testing.assert_close(model(inputs).prediction, contiguous(inputs).prediction)


@pytest.mark.parametrize("gaps", [False, True])
def test_gradients_and_parameters_may_lie_otherwise(gaps):
    """A callback may set a gradient of its own; a parameter may be part of something larger, which stays as it is."""
    torch.manual_seed(0)
    whole, gradient = torch.randn(4, 6, 2, 5), torch.randn(4, 3, 2, 5)
    part = whole.clone()[:, ::2] if gaps else whole[:, ::2].clone(memory_format=torch.channels_last)
    ours, plain = (
        torch.nn.Parameter(part),
        torch.nn.Parameter(part.detach().clone(memory_format=torch.contiguous_format)),
    )
    for parameter, optimizer in (
        (ours, TrainingConfig().make_optimizer([ours], [])),
        (plain, torch.optim.Adam([plain])),
    ):
        parameter.grad = gradient.clone()
        optimizer.step()
    torch.testing.assert_close(ours, plain)
    if gaps:
        torch.testing.assert_close(part._base[:, 1::2], whole[:, 1::2], rtol=0, atol=0)
