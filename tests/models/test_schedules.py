"""Schedules end where training ends: rates of real runs, step by step, against formulas and torch's own schedulers."""

import re
from functools import partial
from math import cos, pi
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, IterableDataset

from fusionlit.encoders import MLPEncoder
from fusionlit.errors import ConfigError
from fusionlit.models import CentralNet, TrainingConfig, WarmupCosine

CONFIGS = Path(__file__).parents[2] / "configs"
PEAK = 0.01
COSINE = partial(WarmupCosine, warmup=0.0)


class Rates(Callback):
    """The rates of both groups with which every optimizer step is made."""

    def __init__(self):
        self.main, self.fusion = [], []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        main, fusion = (group["lr"] for group in optimizer.param_groups)
        self.main.append(main)
        self.fusion.append(fusion)


def make_model(data, scheduler, interval=None, **options):
    options |= {"fusion_held_out": 0.0}  # a few batches may hold no sample out
    training = TrainingConfig(partial(torch.optim.SGD, lr=PEAK), scheduler, interval, **options)
    return CentralNet(data.modalities, data.target, partial(MLPEncoder, widths=[4, 4]), training=training)


@pytest.fixture
def rates_of(planted, make_trainer):
    """Trains on four batches an epoch and gives every step's rate."""

    def fit(scheduler, interval=None, ckpt_path=None, **options):
        data, watch = planted(), Rates()
        make_trainer(callbacks=[watch], **options).fit(make_model(data, scheduler, interval), data, ckpt_path=ckpt_path)
        assert watch.fusion == pytest.approx([TrainingConfig().fusion_lr_mult * rate for rate in watch.main])
        return watch.main

    return fit


def formula(total, warmup, final=0.0):
    rise = [PEAK * (t + 1) / (warmup + 1) for t in range(warmup)]
    fall = [(1 + cos(pi * t / (total - warmup))) / 2 for t in range(total - warmup)]
    return rise + [PEAK * (final + (1 - final) * share) for share in fall]


def by_torch(make, steps):
    """The rates that one of torch's own schedulers gives."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=PEAK)
    scheduler = make(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def epochs(rates):
    return [rate for rate in rates for _ in range(4)]


def test_warm_up_then_cosine_over_all_steps(rates_of):
    rates = rates_of(partial(WarmupCosine, warmup=0.25, final=0.1), max_epochs=5)
    assert rates == pytest.approx(formula(20, 5, final=0.1))
    assert max(rates) == PEAK

    def sequence(optimizer):
        warm = lr_scheduler.LinearLR(optimizer, start_factor=1 / 6, total_iters=5)
        cosine = lr_scheduler.CosineAnnealingLR(optimizer, T_max=15, eta_min=0.1 * PEAK)
        return lr_scheduler.SequentialLR(optimizer, [warm, cosine], milestones=[5])

    assert rates == pytest.approx(by_torch(sequence, 20))


def test_the_cosine_alone_by_epoch_is_torchs(rates_of):
    oracle = by_torch(partial(lr_scheduler.CosineAnnealingLR, T_max=6), 6)
    assert rates_of(COSINE, "epoch", max_epochs=6) == pytest.approx(epochs(oracle))


@pytest.mark.parametrize(
    ("options", "total"),
    [
        ({"max_epochs": 3}, 12),
        ({"max_epochs": 3, "accumulate_grad_batches": 3}, 6),  # 3 + 1 batches an epoch
        ({"max_epochs": 3, "limit_train_batches": 2}, 6),
        ({"max_epochs": 3, "max_steps": 7}, 7),
        ({"max_epochs": 3, "max_steps": 700}, 12),
        ({"max_epochs": -1, "max_steps": 7}, 7),
    ],
    ids=str,
)
def test_total_steps_is_what_the_trainer_does(rates_of, options, total):
    assert rates_of(partial(WarmupCosine, warmup=0.5), **options) == pytest.approx(formula(total, round(total / 2)))


@pytest.mark.parametrize("options", [{"max_epochs": -1, "max_steps": 10}, {"max_epochs": 5, "max_steps": 10}], ids=str)
def test_epochs_of_a_limit_in_steps(rates_of, options):
    oracle = by_torch(partial(lr_scheduler.CosineAnnealingLR, T_max=3), 3)  # the third epoch has two steps
    assert rates_of(COSINE, "epoch", **options) == pytest.approx(epochs(oracle)[:10])


def test_torchs_schedulers_take_what_they_leave_open(rates_of):
    cosine = by_torch(partial(lr_scheduler.CosineAnnealingLR, T_max=3), 3)
    assert rates_of(lr_scheduler.CosineAnnealingLR, max_epochs=3) == pytest.approx(epochs(cosine))
    cycle = partial(lr_scheduler.OneCycleLR, max_lr=0.1)
    oracle = by_torch(partial(cycle, total_steps=12), 12)
    for scheduler in (cycle, partial(cycle, total_steps=None), partial(cycle, epochs=3, steps_per_epoch=4)):
        assert rates_of(scheduler, max_epochs=3) == pytest.approx(oracle)


def test_a_polynomial_ends_where_training_ends_unless_it_says_otherwise(rates_of):
    polynomial = partial(lr_scheduler.PolynomialLR, power=2.0)
    oracle = by_torch(partial(polynomial, total_iters=7), 7)
    for scheduler in (polynomial, partial(polynomial, total_iters=None)):
        assert rates_of(scheduler, max_epochs=7) == pytest.approx(epochs(oracle))
    assert rates_of(polynomial, "step", max_epochs=2) == pytest.approx(by_torch(partial(polynomial, total_iters=8), 8))
    with pytest.warns(UserWarning, match=r"PolynomialLR has `total_iters` = 1 epochs, but the trainer trains 2"):
        assert rates_of(partial(polynomial, total_iters=1), max_epochs=2)[4:] == [0.0] * 4


@pytest.mark.parametrize("warm", [lr_scheduler.LinearLR, lr_scheduler.ConstantLR])
def test_a_warm_up_keeps_its_own_length(rates_of, warm):
    assert rates_of(warm, max_epochs=7) == pytest.approx(epochs(by_torch(warm, 7)))


def test_a_maximal_rate_per_group_stays(planted, make_trainer):
    data, watch = planted(), Rates()
    cycle = partial(lr_scheduler.OneCycleLR, max_lr=[0.1, 3.0])
    make_trainer(max_epochs=3, callbacks=[watch]).fit(make_model(data, cycle), data)
    assert watch.main == pytest.approx(by_torch(partial(lr_scheduler.OneCycleLR, max_lr=0.1, total_steps=12), 12))


@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended")
@pytest.mark.parametrize("at", [2, 4, 6])
@pytest.mark.parametrize("scheduler", [partial(WarmupCosine, warmup=0.25), lr_scheduler.CosineAnnealingLR])
def test_a_resumed_run_goes_on_with_the_schedule(planted, make_trainer, tmp_path, rates_of, scheduler, at):
    class Save(Callback):
        def on_train_batch_end(self, trainer, *_):
            if trainer.global_step == at:
                trainer.save_checkpoint(tmp_path / "part.ckpt")

    data, whole = planted(), Rates()
    make_trainer(max_epochs=3, callbacks=[whole, Save()]).fit(make_model(data, scheduler, "step"), data)
    rest = rates_of(scheduler, "step", tmp_path / "part.ckpt", max_epochs=3)
    assert rest == pytest.approx(whole.main[at:])


def test_more_epochs_stretch_the_schedule_of_a_resumed_run(planted, make_trainer, tmp_path, rates_of):
    data = planted()
    trainer = make_trainer(max_epochs=2)
    trainer.fit(make_model(data, COSINE), data)
    assert trainer.optimizers[0].param_groups[0]["lr"] == 0
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    assert rates_of(COSINE, ckpt_path=tmp_path / "end.ckpt", max_epochs=4) == pytest.approx(formula(16, 0)[8:])


def test_frozen_fusion_weights_are_let_go_under_a_schedule(planted, make_trainer):
    data, watch = planted(), Rates()
    model = make_model(data, WarmupCosine, frozen_fusion_epochs=1)
    make_trainer(max_epochs=2, callbacks=[watch]).fit(model, data)
    assert watch.fusion[:4] == [0] * 4
    assert watch.fusion[4:] == pytest.approx([TrainingConfig().fusion_lr_mult * rate for rate in watch.main[4:]])


class Resumable(DataLoader):
    """Counts its batches, and goes on from a count that it is given."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.count, self.loaded = 0, None

    def __iter__(self):
        for batch in super().__iter__():
            self.count += 1
            yield batch

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state):
        self.loaded = state["count"]


def test_counting_the_steps_costs_no_loader_its_state(planted, make_trainer, tmp_path):
    data, made = planted(), []

    def train_dataloader():
        made.append(Resumable(data.dataset("train"), batch_size=16))
        return made[-1]

    data.train_dataloader = train_dataloader

    class Save(Callback):
        def on_train_batch_end(self, trainer, *_):
            if trainer.global_step == 6:
                trainer.save_checkpoint(tmp_path / "part.ckpt")

    make_trainer(max_epochs=2, callbacks=[Save()]).fit(make_model(data, WarmupCosine), data)
    made.clear()
    make_trainer(max_epochs=2).fit(make_model(data, WarmupCosine), data, ckpt_path=tmp_path / "part.ckpt")
    assert made[-1].loaded == 6


def test_counting_the_steps_leaves_the_order_of_samples_as_it_is(planted, make_trainer):
    class Order(Callback):
        def __init__(self):
            self.seen = []

        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            self.seen += batch["index"].tolist()

    orders = []
    for scheduler in (None, WarmupCosine):
        torch.manual_seed(0)
        data, order = planted(), Order()
        make_trainer(max_epochs=2, callbacks=[order]).fit(make_model(data, scheduler), data)
        orders.append(order.seen)
    assert orders[0] == orders[1]
    assert orders[0] != sorted(orders[0])


@pytest.mark.parametrize(
    ("scheduler", "interval", "said"),
    [
        (
            partial(lr_scheduler.CosineAnnealingLR, T_max=2),
            "epoch",
            "CosineAnnealingLR has `T_max` = 2 epochs, but the trainer trains 3: the learning rate rises again"
            " afterwards. Set `T_max: 3`, or use WarmupCosine, which takes it from the trainer (`warmup: 0` for a pure"
            " cosine).",
        ),
        (
            partial(lr_scheduler.OneCycleLR, max_lr=0.1, total_steps=13),
            "step",
            "OneCycleLR has `total_steps` = 13 steps, but the trainer trains 12: the learning rate does not reach"
            " its final value. Set `total_steps: 12`",
        ),
        (
            partial(WarmupCosine, total_steps=5),
            "step",
            "`total_steps` = 5 steps, but the trainer trains 12: the learning rate stays at its last value afterwards",
        ),
        (
            partial(lr_scheduler.PolynomialLR, total_iters=2),
            "epoch",
            "`total_iters` = 2 epochs, but the trainer trains 3: the learning rate stays at 0 afterwards.",
        ),
        (
            lr_scheduler.LinearLR,
            "epoch",
            "LinearLR has `total_iters` = 5 epochs, but the trainer trains 3: the learning rate does not reach"
            " its final value. Set `total_iters: 3`.",
        ),
    ],
    ids=lambda x: getattr(x, "__name__", None),
)
def test_a_length_that_does_not_fit_is_warned_of(rates_of, scheduler, interval, said):
    with pytest.warns(UserWarning, match=re.escape(said)):
        rates_of(scheduler, interval, max_epochs=3)


def test_a_length_that_fits_is_not(rates_of):
    """Warnings are errors here."""
    rates_of(partial(lr_scheduler.CosineAnnealingLR, T_max=3), max_epochs=3)
    rates_of(partial(lr_scheduler.PolynomialLR, total_iters=12), "step", max_epochs=3)
    rates_of(partial(lr_scheduler.LinearLR, total_iters=5), "step", max_epochs=3)
    rates_of(partial(lr_scheduler.ConstantLR, total_iters=2), max_epochs=3)
    rates_of(partial(lr_scheduler.CosineAnnealingLR, T_max=20), fast_dev_run=True)
    rates_of(WarmupCosine, fast_dev_run=True)


def test_a_training_without_an_end_is_refused(planted, make_trainer):
    data = planted()
    said = (
        "Expected `max_epochs` or `max_steps` of the trainer for the number of steps, since `total_steps` of"
        " WarmupCosine is not given, but neither is set. Set one of them"
    )
    with pytest.raises(ConfigError, match=re.escape(said)):
        make_trainer(max_epochs=-1).fit(make_model(data, WarmupCosine), data)
    with pytest.raises(ConfigError, match="for the number of epochs, since `T_max` of CosineAnnealingLR"):
        make_trainer(max_epochs=None, max_time="00:00:01:00").fit(
            make_model(data, lr_scheduler.CosineAnnealingLR), data
        )


def test_data_without_a_length_need_a_limit_in_steps(planted, make_trainer):
    data, watch = planted(), Rates()

    class Stream(IterableDataset):
        def __iter__(self):
            return (data.dataset("train")[i] for i in range(64))

    data.train_dataloader = lambda: DataLoader(Stream(), batch_size=16)
    with pytest.raises(ConfigError, match="data without a length need `max_steps`"):
        make_trainer(max_epochs=3).fit(make_model(data, WarmupCosine), data)
    make_trainer(max_epochs=3, max_steps=10, callbacks=[watch]).fit(make_model(data, WarmupCosine), data)
    assert watch.main == pytest.approx(formula(10, 1))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"warmup": 1.0}, "Expected `warmup` to be a share of the training in [0, 1), but got 1.0."),
        ({"final": -0.1}, "Expected `final` to be a share of the peak in [0, 1], but got -0.1."),
        ({"total_steps": 0}, "Expected `total_steps` to be at least 1, but got 0."),
        ({}, "Expected `total_steps` to be at least 1, but got None. In a model's `training.scheduler` it may be"),
    ],
    ids=str,
)
def test_what_no_schedule_can_be_is_refused(options, said):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=PEAK)
    with pytest.raises(ConfigError, match=re.escape(said)):
        WarmupCosine(optimizer, **options)


@pytest.fixture
def command(fusionlit, tmp_path, planted_signals):
    def fit(scheduler, *options):
        data = [f"--data={CONFIGS}/data/planted_signals.yaml", f"--data.path={planted_signals}", "--data.batch_size=4"]
        training = [f"--model.training.scheduler={scheduler}", "--trainer.logger=false", *options]
        fusionlit("fit", *data, "--model=IntermediateFusion", *training)

    return fit


def test_the_command_line_names_it_in_one_word(command, tmp_path):
    command("WarmupCosine", "--trainer.max_epochs=2", "--trainer.limit_train_batches=4")
    saved = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["lr_schedulers"][0]["last_epoch"] == 8
    assert saved["optimizer_states"][0]["param_groups"][0]["lr"] == 0
    assert saved["hyper_parameters"]["training"]["scheduler"]["class_path"].endswith("WarmupCosine")


def test_the_command_line_may_leave_the_length_of_one_cycle_open(command):
    command("OneCycleLR", "--model.training.scheduler.max_lr=0.1", "--trainer.fast_dev_run=2")


@pytest.mark.parametrize(("interval", "steps"), [([], 2), (["--model.training.interval=step"], 8)])
def test_the_command_line_may_leave_the_length_of_a_cosine_open(command, tmp_path, recwarn, interval, steps):
    command("CosineAnnealingLR", "--trainer.max_epochs=2", "--trainer.limit_train_batches=4", *interval)
    saved = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["lr_schedulers"][0]["T_max"] == saved["lr_schedulers"][0]["last_epoch"] == steps
    assert saved["optimizer_states"][0]["param_groups"][0]["lr"] == pytest.approx(0, abs=1e-12)
    assert "T_max: null" in (tmp_path / "config.yaml").read_text()
    assert not [each for each in recwarn if "the learning rate" in str(each.message)]
