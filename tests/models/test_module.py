"""A model of several modalities without a target: it trains, is saved, and its checkpoint knows its class."""

import pytest
import torch
from torch import nn

from fusionlit.errors import ConfigError
from fusionlit.fusion import WeightedSum
from fusionlit.models import FusionModule, MultimodalModule, TrainingConfig, Unimodal


class Agreement(MultimodalModule):
    """Predicts each modality's mean from the weighted sum of all, which needs no target."""

    def __init__(self, modalities, training, normalize=True):
        super().__init__(modalities, training, normalize)
        self.fusion = WeightedSum({name: (shape[0],) for name, shape in modalities.items()})
        self.decoder = nn.Linear(next(iter(modalities.values()))[0], sum(shape[0] for shape in modalities.values()))

    def fusion_layers(self):
        return {"sum": self.fusion}

    def forward(self, inputs, presence=None):
        prepared, presence = self.prepared(inputs, presence)
        means = {name: x.mean(-1) for name, x in prepared.items()}
        fused, _ = self.fuse_at("sum", means, presence)
        return self.decoder(fused), torch.cat(list(means.values()), 1)

    def training_step(self, batch, batch_idx):
        prediction, means = self.run(batch["inputs"], batch.get("presence"))
        return (prediction - means).square().mean()

    def validation_step(self, batch, batch_idx):
        self.log("val/loss", self.training_step(batch, batch_idx))


def test_it_trains_without_a_target_and_loads_without_its_class(planted, make_trainer, tmp_path):
    data = planted()
    model = Agreement(data.modalities, TrainingConfig(fusion_lr_mult=10))
    batch = next(iter(data.train_dataloader()))
    trainer = make_trainer(max_epochs=2, enable_checkpointing=True, default_root_dir=tmp_path)
    trainer.fit(model, data)
    groups = trainer.optimizers[0].param_groups
    assert [group.get("name") for group in groups] == [None, "fusion_weights"]
    assert groups[1]["lr"] == pytest.approx(10 * groups[0]["lr"])
    assert all(norm.fitted for norm in model.normalization.values())
    path = trainer.checkpoint_callback.best_model_path
    assert "target" not in torch.load(path, weights_only=True)
    loaded = MultimodalModule.load_from_checkpoint(path)
    assert type(loaded) is Agreement
    for made, expected in zip(loaded.eval()(batch["inputs"]), model.eval()(batch["inputs"]), strict=True):
        torch.testing.assert_close(made, expected, rtol=0, atol=0)


def test_a_checkpoint_of_another_kind_is_refused(planted, make_trainer, tmp_path):
    data = planted()
    trainer = make_trainer(max_epochs=1, enable_checkpointing=True, default_root_dir=tmp_path)
    trainer.fit(Agreement(data.modalities, TrainingConfig()), data)
    with pytest.raises(ConfigError, match="subclass of FusionModule, but got"):
        FusionModule.load_from_checkpoint(trainer.checkpoint_callback.best_model_path)


def test_any_base_loads_a_strategy(planted, make_trainer, tmp_path):
    data = planted()
    trainer = make_trainer(max_epochs=1, enable_checkpointing=True, default_root_dir=tmp_path)
    trainer.fit(Unimodal(data.modalities, data.target, "strong"), data)
    path = trainer.checkpoint_callback.best_model_path
    assert {type(base.load_from_checkpoint(path)) for base in (MultimodalModule, FusionModule, Unimodal)} == {Unimodal}
