"""AMCo and G-Blending take stock once per epoch, and go on where a checkpoint left off."""

import math
from functools import partial

import pytest
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint
from torch.testing import assert_close

from fusionlit.callbacks import LastCheckpoint
from fusionlit.errors import ConfigError
from fusionlit.functional import blending_weights
from fusionlit.models import OGMGE, AMCo, GBlending, IntermediateFusion
from fusionlit.models.balance.means import EpochMeans

AMCO = partial(AMCo, alpha=2.0, maximum=0.8, growing_epochs=2)
BLENDING = partial(GBlending, every_n_epochs=1, minimum=0.2)
PARTS = ["loss", "unimodal_loss/strong", "unimodal_loss/noise"]


class Epochs(Checkpoint):
    """What was logged of the balance at the end of every epoch, and the losses of which it was made.

    Lightning asks checkpoints after the model, all other callbacks before.
    """

    def __init__(self):
        self.logged, self.train, self.val = [], [], []
        self.batches = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.batches.append([trainer.callback_metrics[f"train/{part}"].item() for part in PARTS])

    def on_train_epoch_end(self, trainer, pl_module):
        self.train.append(torch.tensor(self.batches, dtype=torch.float64).mean(0))
        self.val.append(torch.tensor([trainer.callback_metrics.get(f"val/{p}", 0.0) for p in PARTS]).double())
        self.batches = []
        self.logged.append(
            {k.removeprefix("balance/"): v.item() for k, v in trainer.callback_metrics.items() if "balance/" in k}
        )


def run(small, data, make_trainer, balance, epochs, callbacks=(), ckpt_path=None, **trainer):
    watch, model = Epochs(), small(data, balance)
    made = make_trainer(max_epochs=epochs, callbacks=[watch, *callbacks], enable_checkpointing=True, **trainer)
    made.fit(model, datamodule=data, ckpt_path=ckpt_path)
    return model, watch


def test_amco_masks_what_is_ahead(planted, small, make_trainer):
    data = planted()
    model, watch = run(small, data, make_trainer, AMCO, 3)
    assert [epoch["noise"] for epoch in watch.logged] == [0.0] * 3
    first, second, third = (epoch["strong"] for epoch in watch.logged)
    assert 0 < first < second < third < 0.8
    batch = data.convert(next(iter(data.train_dataloader())))
    batch = {**batch, "inputs": {k: x[:1].expand(4000, *x.shape[1:]) for k, x in batch["inputs"].items()}}
    there = model.train().modality_dropout(batch)["presence"]
    assert there["noise"].all()
    assert 1 - there["strong"].float().mean().item() == pytest.approx(third, abs=0.03)
    assert "presence" not in model.eval().modality_dropout(batch)


def test_amco_has_the_probability_of_the_epochs_scores(planted, small, make_trainer):
    """One batch per epoch, whose scores can be computed from the model as it was."""
    data, seen = planted(), {}

    class Scores(Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            with torch.no_grad():
                said = pl_module(batch["inputs"]).unimodal
            truth = batch["target"]
            seen.update({k: x.softmax(1)[torch.arange(len(x)), truth].mean().item() for k, x in said.items()})

    model, watch = run(small, data, make_trainer, AMCO, 1, [Scores()], limit_train_batches=1)
    lead = seen["strong"] / seen["noise"] - 1
    assert lead > 0
    expected = 0.8 * math.sin(math.pi / 4) * math.tanh(2 * lead)
    assert watch.logged[0] == pytest.approx({"strong": expected, "noise": 0.0}, rel=1e-4)
    assert model.balance.drop_probabilities({"strong": 0.1, "noise": 0.3})["noise"] == 0.3


@pytest.mark.parametrize("minimum", [0.2, 0.0])
def test_blending_weighs_by_what_was_logged(planted, small, make_trainer, minimum):
    data = planted()
    balance = partial(GBlending, every_n_epochs=1, minimum=minimum)
    _, watch = run(small, data, make_trainer, balance, 3)
    assert list(watch.logged[0].values()) == [1.0] * 3
    for i in (1, 2):
        shares = blending_weights(watch.train[i - 1], watch.val[i - 1], watch.train[i], watch.val[i])
        weights = minimum + (1 - minimum) * 3 * shares
        assert [watch.logged[i][part] for part in PARTS] == pytest.approx(weights.tolist(), rel=1e-3)
        assert weights.mean().item() == pytest.approx(1.0)


@pytest.mark.parametrize("part", ["training", "validation"])
def test_blending_names_a_sensor_that_is_in_no_sample(planted, small, make_trainer, part):
    class Blind(planted):
        def convert(self, batch):
            batch = super().convert(batch)
            if self.trainer.current_epoch and self.trainer.training == (part == "training"):
                batch["presence"]["noise"][:] = False
            return batch

    with pytest.warns(UserWarning, match=rf"GBlending has no {part} loss of \['noise'\]: no {part} sample has them"):
        _, watch = run(small, Blind(presence=True), make_trainer, BLENDING, 3)
    assert [set(epoch.values()) for epoch in watch.logged] == [{1.0}] * 3


def test_blended_loss_has_its_weights(planted, small, step):
    def loaded(modalities):
        balance = GBlending(modalities)
        balance.load_state({"weights": dict(zip(PARTS, (0.5, 2.0, 0.25), strict=True)), "measured": None})
        return balance

    data = planted()
    _, before, seen = step(data, loaded, limit_val_batches=1)
    output = before(seen.batches[0]["inputs"])
    loss = [before.task.loss(x, seen.batches[0]["target"]) for x in (output.prediction, *output.unimodal.values())]
    (0.5 * loss[0] + 2.0 * 0.5 * loss[1] + 0.25 * 0.5 * loss[2]).backward()
    assert_close(seen.gradients, {key: p.grad for key, p in before.named_parameters()})


def test_blending_waits_for_its_epochs_and_for_a_validation(planted, small, make_trainer):
    data = planted()
    _, watch = run(small, data, make_trainer, partial(GBlending, every_n_epochs=2), 4)
    assert [set(epoch.values()) == {1.0} for epoch in watch.logged] == [True, True, True, False]
    _, watch = run(small, data, make_trainer, BLENDING, 4, check_val_every_n_epoch=2)
    assert [set(epoch.values()) == {1.0} for epoch in watch.logged] == [True, True, True, False]
    with pytest.raises(ConfigError, match="GBlending needs the validation split, but the trainer does not validate"):
        run(small, data, make_trainer, BLENDING, 1, limit_val_batches=0)


@pytest.mark.filterwarnings("ignore:Checkpoint directory")  # the run goes on in its own folder
@pytest.mark.parametrize("balance", [AMCO, BLENDING])
def test_training_goes_on_from_a_checkpoint(planted, small, make_trainer, balance, tmp_path):
    data = planted(batch_size=64)  # one step per epoch: that a resumed run shuffles anew is no matter
    whole, expected = run(small, data, make_trainer, balance, 3)
    last = LastCheckpoint()
    run(small, data, make_trainer, balance, 2, [last])
    path = last.best_model_path
    saved = torch.load(path, weights_only=True)
    assert saved["balance"]["last_epoch"] == 1
    loaded = IntermediateFusion.load_from_checkpoint(path)
    assert loaded.balance.numbers == {k: pytest.approx(v, rel=1e-6) for k, v in expected.logged[1].items()}
    resumed, watch = run(small, data, make_trainer, balance, 3, [LastCheckpoint()], path)
    if balance is BLENDING:  # masks are drawn anew
        assert watch.logged[-1] == pytest.approx(expected.logged[-1], rel=1e-3)
        assert_close(resumed.state_dict(), whole.state_dict(), atol=1e-5, rtol=1e-4)
    else:
        assert watch.logged[-1]["strong"] > expected.logged[1]["strong"] > 0


@pytest.mark.filterwarnings("ignore:Checkpoint directory")  # the run goes on in its own folder
def test_a_balance_may_be_changed_left_out_or_added(planted, small, make_trainer):
    data = planted()
    last = LastCheckpoint()
    run(small, data, make_trainer, BLENDING, 2, [last])
    for other in (None, AMCO):
        model = small(data, other)
        trainer = make_trainer(max_epochs=3, callbacks=[LastCheckpoint(), Epochs()], enable_checkpointing=True)
        trainer.fit(model, datamodule=data, ckpt_path=last.best_model_path)
    assert set(model.balance.probabilities) == {"strong", "noise"}


def test_means_count_by_weight_and_begin_afresh():
    means = EpochMeans(["a", "b", "c"])
    assert means.take() == {}
    means.add(torch.tensor([1.0, 5.0, torch.nan]), torch.tensor([1.0, 2.0, 0.0]))
    means.add(torch.tensor([4.0, 8.0, torch.nan]), torch.tensor([3.0, 1.0, 0.0]))
    assert means.take() == {"a": 3.25, "b": 6.0}
    means.add(torch.tensor([1.0, 2.0, 3.0]))
    assert means.take() == {"a": 1.0, "b": 2.0, "c": 3.0}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (partial(AMCo, alpha=-1.0), "Expected `alpha` of AMCo to be a number > 0, but got -1.0"),
        (partial(AMCo, maximum=1.0), r"Expected `maximum` of AMCo to be in \[0, 1\), but got 1.0"),
        (partial(AMCo, growing_epochs=0), "Expected `growing_epochs` of AMCo to be at least 1, but got 0"),
        (partial(GBlending, every_n_epochs=0), "Expected `every_n_epochs` of GBlending to be at least 1, but got 0"),
        (partial(GBlending, minimum=1.0), r"Expected `minimum` of GBlending to be in \[0, 1\), but got 1.0"),
    ],
)
def test_arguments_that_cannot_be(make, message):
    with pytest.raises(ConfigError, match=message):
        make({"a": (3,), "b": (3,)})


def test_ogm_state_needs_nothing(planted, small, make_trainer):
    _, watch = run(small, planted(), make_trainer, OGMGE, 2)
    assert all(0 < value <= 1 for epoch in watch.logged for value in epoch.values())
