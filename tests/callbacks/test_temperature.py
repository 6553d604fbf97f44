"""Temperature scaling of whole runs, against scipy's minimiser on the logits of what was saved."""

import math
from functools import partial

import pytest
import torch
from lightning import seed_everything
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from scipy.optimize import minimize_scalar
from torch.nn.functional import cross_entropy

from fusionlit.callbacks import LastCheckpoint, TemperatureScaling
from fusionlit.data import Augmentation
from fusionlit.encoders import MLPEncoder
from fusionlit.errors import ConfigError
from fusionlit.models import TrainingConfig, Unimodal

encoder = partial(MLPEncoder, widths=[16])
FAST = TrainingConfig(optimizer=partial(torch.optim.Adam, lr=0.05))


@pytest.fixture
def hard(planted):
    """Planted signals whose label is another one for every sixth sample; a test split must not be asked for."""

    class Hard(planted):
        def dataset(self, split):
            assert split != "test"
            data = super().dataset(split)
            wrong = torch.arange(len(data)) % 6 == 0
            data.target[wrong] = 1 - data.target[wrong]
            return data

    return Hard


def fit(data, make_trainer, folder, epochs=4, **options):
    seed_everything(0, verbose=False)
    model = Unimodal(data.modalities, data.target, "strong", encoder, training=FAST)
    # the highest loss, so that `best` and `last` are never the same weights
    best = ModelCheckpoint(folder, filename="best", monitor="val/loss", mode="max", enable_version_counter=False)
    last = LastCheckpoint()
    last.dirpath = str(folder)
    callbacks = [TemperatureScaling(), best, last]
    trainer = make_trainer(max_epochs=epochs, callbacks=callbacks, enable_checkpointing=True, **options)
    trainer.fit(model, datamodule=data)
    return model, trainer


def logits_of(model, data):
    samples = data.dataset("val")
    with torch.no_grad():
        prediction = model.eval()(samples.inputs).prediction
    return [x.detach() for x in model.task.class_logits(prediction, samples.target)]


def best_temperature(model, data):
    logits, labels = logits_of(model, data)
    found = minimize_scalar(
        lambda log_t: cross_entropy(logits.double() / math.exp(log_t), labels).item(),
        bounds=(-4, 4),
        method="bounded",
        options={"xatol": 1e-8},
    )
    return math.exp(found.x)


@pytest.mark.parametrize("kind", ["multiclass", "binary", "multilabel"])
def test_every_checkpoint_gets_the_temperature_of_its_own_weights(hard, make_trainer, tmp_path, kind):
    data = hard(kind, size=120)
    model, _ = fit(data, make_trainer, tmp_path)
    temperatures = {}
    for name in ("best", "last"):
        loaded = Unimodal.load_from_checkpoint(tmp_path / f"{name}.ckpt")
        temperatures[name] = loaded.task.temperature.value.item()
        assert temperatures[name] == pytest.approx(best_temperature(loaded, data), rel=1e-3)
        logits, _ = logits_of(loaded, data)
        said = loaded.task.predict(loaded(data.dataset("val").inputs).prediction)
        probability = (logits / temperatures[name]).softmax(1)
        expected = probability if kind == "multiclass" else probability[:, 1].reshape(said.shape)
        torch.testing.assert_close(said, expected)
    assert temperatures["best"] != temperatures["last"]
    assert model.task.temperature.value.item() == pytest.approx(temperatures["last"], rel=1e-5)


def test_validation_is_better_calibrated_and_as_accurate(hard, make_trainer, tmp_path):
    data = hard(size=120)
    model, trainer = fit(data, make_trainer, tmp_path, epochs=15)
    after = trainer.validate(model, datamodule=data, verbose=False)[0]
    model.task.temperature.reset()
    before = trainer.validate(model, datamodule=data, verbose=False)[0]
    assert after["val/calibration_error"] < 0.8 * before["val/calibration_error"]
    for name in ("val/accuracy", "val/loss", "val/f1"):
        assert after[name] == before[name]
    assert not any("calibration" in name for name in trainer.callback_metrics if name.startswith("train/"))


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_training_on_begins_without_a_temperature(hard, make_trainer, tmp_path):
    data = hard(size=60)
    model, _ = fit(data, make_trainer, tmp_path, epochs=3)
    assert model.task.temperature.value != 1
    make_trainer(max_epochs=4).fit(model, datamodule=data, ckpt_path=tmp_path / "last.ckpt")
    assert model.task.temperature.value == 1


def test_a_checkpoint_keeps_all_else_and_training_goes_on_from_it(hard, make_trainer, tmp_path):
    data = hard(size=60)
    fit(data, make_trainer, tmp_path / "with", epochs=2)
    seed_everything(0, verbose=False)
    plain = Unimodal(data.modalities, data.target, "strong", encoder, training=FAST)
    saving = ModelCheckpoint(tmp_path / "plain", filename="last", enable_version_counter=False)
    make_trainer(max_epochs=2, callbacks=[saving], enable_checkpointing=True).fit(plain, datamodule=data)
    scaled, bare = (torch.load(tmp_path / run / "last.ckpt", weights_only=True) for run in ("with", "plain"))
    assert scaled.keys() == bare.keys()
    assert scaled["state_dict"].keys() == bare["state_dict"].keys()
    changed = [k for k, x in scaled["state_dict"].items() if not torch.equal(x, bare["state_dict"][k])]
    assert changed == ["task.temperature.value"]
    assert sorted(path.name for path in (tmp_path / "with").iterdir()) == ["best.ckpt", "last.ckpt"]


def test_the_average_of_weights_is_calibrated_whatever_the_order(hard, make_trainer):
    data = hard(size=60)
    seed_everything(0, verbose=False)
    model = Unimodal(data.modalities, data.target, "strong", encoder, training=FAST)
    callbacks = [TemperatureScaling(), EMAWeightAveraging(decay=0.9)]
    make_trainer(max_epochs=4, callbacks=callbacks).fit(model, datamodule=data)
    assert model.task.temperature.value.item() == pytest.approx(best_temperature(model, data), rel=1e-3)


class Raised(Augmentation):
    """Far from the samples as they are."""

    def check(self, shapes, target, rays):
        pass

    def __call__(self, inputs, seed):
        return {name: x + 100 for name, x in inputs.items()}


def test_the_data_module_does_not_vary_the_samples(hard, make_trainer, tmp_path):
    data = hard(size=60)
    data.augmentation = Raised()
    fit(data, make_trainer, tmp_path, epochs=2)
    loaded = Unimodal.load_from_checkpoint(tmp_path / "last.ckpt")
    assert loaded.task.temperature.value.item() == pytest.approx(best_temperature(loaded, data), rel=1e-3)


def test_where_no_temperature_is_best_it_stays_one(planted, make_trainer, tmp_path):
    class Clear(planted):
        def dataset(self, split):
            data = super().dataset(split)
            data.inputs["strong"] = (2.0 * data.target - 1)[:, None, None].expand(-1, 3, 16).clone()
            return data

    with pytest.warns(
        UserWarning, match=r"there is no optimal temperature for .*: it is correct on all of the 40 validation samples"
    ):
        model, _ = fit(Clear(size=40), make_trainer, tmp_path)
    assert model.task.temperature.value == 1


def test_what_cannot_be_calibrated_is_refused_before_training(planted, make_trainer):
    data = planted("regression")
    model = Unimodal(data.modalities, data.target, "strong", encoder)
    with pytest.raises(ConfigError, match=r"but Regression has none\. Leave out the callback for regression"):
        make_trainer(callbacks=[TemperatureScaling()]).fit(model, datamodule=data)
    data = planted()
    model = Unimodal(data.modalities, data.target, "strong", encoder)
    data.setup("fit")
    with pytest.raises(ConfigError, match="FusionDataModule for TemperatureScaling: use `fusionlit fit`"):
        make_trainer(callbacks=[TemperatureScaling()]).fit(model, data.train_dataloader(), data.val_dataloader())


def test_from_the_command_line(fusionlit, shapes, tmp_path):
    model = ["--model=LateFusion", "--model.fusion=DempsterShafer"]
    data = ["--data=ReplicatorDataModule", f"--data.root={shapes}"]
    run = [
        "--trainer.max_epochs=1",
        "--trainer.limit_train_batches=1",
        "--trainer.callbacks+=TemperatureScaling",
        "--trainer.log_every_n_steps=1",
    ]
    fusionlit("fit", *data, *model, *run)
    (best,) = tmp_path.rglob("best.ckpt")
    state = torch.load(best, weights_only=True)["state_dict"]
    assert state["task.temperature.value"].isfinite()
    fusionlit("test", f"--config={best.parents[1] / 'config.yaml'}", f"--ckpt_path={best}")
