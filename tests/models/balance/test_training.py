"""A balance in a run: without one nothing changes, in YAML by a short name, no step waits."""

import copy
from functools import partial
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch._subclasses.fake_tensor import FakeTensorMode

from fusionlit.errors import ConfigError
from fusionlit.functional import enhanced_gradient, pareto_gradient
from fusionlit.models import OGMGE, AMCo, FusionModule, GBlending, IntermediateFusion, MMPareto, TrainingConfig
from fusionlit.types import FusionOutput

CONFIGS = Path(__file__).parents[3] / "configs"
ALL = [OGMGE, MMPareto, AMCo, GBlending]


def test_without_a_balance_nothing_changes(planted, small, make_trainer):
    """Bit for bit, as a plain loop over the same batches has it."""
    data, batches = planted(), []
    model = small(data, None)

    class Batches(Callback):
        def on_train_start(self, trainer, pl_module):
            self.start = copy.deepcopy(pl_module.state_dict())

        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            batches.append(batch)

    seen = Batches()
    make_trainer(max_epochs=1, callbacks=[seen]).fit(model, datamodule=data)
    plain = small(data, None)
    plain.load_state_dict(seen.start)
    optimizer = plain.configure_optimizers()
    for batch in batches:
        optimizer.zero_grad()
        total, _ = plain.multitask_loss(plain(batch["inputs"]), batch)
        total.backward()
        optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), model.parameters(), strict=True))


@pytest.mark.parametrize("balance", ["OGMGE", "MMPareto", "AMCo", "GBlending"])
def test_yaml_by_its_short_name(fusionlit, shapes, tmp_path, balance):
    argument = '{"class_path": "OGMGE", "init_args": {"alpha": 0.7}}' if balance == "OGMGE" else balance
    files = [f"--data={CONFIGS}/data/replicator_shape.yaml", f"--data.root={shapes}", "--data.batch_size=8"]
    model = [f"--model={CONFIGS}/model/intermediate_concat_multitask.yaml", f"--model.training.balance={argument}"]
    small = ["--model.encoder.init_args.widths=[4, 8]", "--trainer.max_epochs=1", "--trainer.log_every_n_steps=1"]
    fusionlit("fit", *files, *model, *small)
    (best,) = tmp_path.rglob("best.ckpt")
    loaded = IntermediateFusion.load_from_checkpoint(best)
    assert type(loaded.balance).__name__ == balance
    if balance == "OGMGE":
        assert loaded.balance.alpha == 0.7


@pytest.mark.parametrize("balance", ALL)
@pytest.mark.parametrize("kind", ["multiclass", "binary", "multilabel", "regression"])
def test_no_step_waits(planted, small, balance, kind, monkeypatch):
    data = planted(kind, presence=True)
    model = small(data, balance, modality_dropout=0.3)
    for method in ("log", "log_dict"):
        monkeypatch.setattr(model, method, lambda *_, **__: None)
    batch = data.convert(next(iter(data.train_dataloader())))
    model.training_step(batch, 0)  # its values are checked once
    model.balance.means.take()
    monkeypatch.setattr(torch.__future__, "get_overwrite_module_params_on_conversion", lambda: True)
    with FakeTensorMode() as mode:

        def move(x):
            return mode.from_tensor(x).to("cuda")

        moved = {k: {n: move(x) for n, x in v.items()} if isinstance(v, dict) else move(v) for k, v in batch.items()}
        model._apply(move)
        assert model.training_step(moved, 0).is_cuda


def test_no_change_of_gradients_waits():
    with FakeTensorMode():
        gradients = [torch.randn(3, 4, device="cuda"), torch.randn(3, device="cuda")]
        assert pareto_gradient(gradients, gradients, 1.5)[0][0].is_cuda
        assert enhanced_gradient(gradients[0], torch.rand((), device="cuda")).is_cuda


@pytest.mark.parametrize("balance", [partial(OGMGE, noise=False), MMPareto, AMCo, GBlending])
def test_brain_floats(planted, small, make_trainer, balance):
    data = planted()
    model = small(data, balance)
    make_trainer(precision="bf16-mixed", max_epochs=2).fit(model, datamodule=data)
    assert all(p.isfinite().all() for p in model.parameters())
    assert model.balance.numbers


class Mute(FusionModule):
    """A strategy whose author forgot the unimodal predictions."""

    def __init__(self, modalities, target, training):
        super().__init__(modalities, target, None, training)
        self.head = torch.nn.LazyLinear(target.size)

    def fuse(self, inputs, presence):
        return FusionOutput(self.head(torch.cat([x.flatten(1) for x in inputs.values()], 1)))


def test_a_strategy_without_unimodal_predictions_is_refused(planted, make_trainer):
    data = planted()
    model = Mute(data.modalities, data.target, TrainingConfig(unimodal_loss_weight=1.0, balance=AMCo))
    with pytest.raises(
        ConfigError, match=r"AMCo needs the unimodal prediction of .* returns none for \['strong', 'noise"
    ):
        make_trainer(num_sanity_val_steps=0).fit(model, datamodule=data)


def test_another_class_is_refused(planted):
    data = planted()
    with pytest.raises(ConfigError, match="Expected a Balance, but got"):
        IntermediateFusion(data.modalities, data.target, training=TrainingConfig(balance=lambda modalities: object()))
