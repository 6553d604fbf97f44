"""The best checkpoint follows the task's main metric, and of equal models is the latest."""

import pytest
import torch

from fusionlit.callbacks import BestCheckpoint
from fusionlit.callbacks.smoothing import MAIN_METRIC
from fusionlit.errors import ConfigError
from fusionlit.models import Unimodal


class Says(Unimodal):
    """Its validation metric is what it is to be in each epoch."""

    values: tuple[float, ...] = ()

    def validation_step(self, batch, batch_idx):
        self.log(f"val/{self.task.main_metric}", self.values[self.current_epoch], on_step=False, on_epoch=True)
        self.log("val/loss", 1.7, on_step=False, on_epoch=True)  # worse than the accuracy, were they compared


@pytest.mark.parametrize(
    ("kind", "values", "epoch"),
    [
        ("multiclass", (0.5, 0.9, 0.9, 0.7), 2),
        ("multiclass", (0.9, 0.5), 0),
        ("multiclass", (0.5, 0.6, 0.9), 2),
        ("multiclass", (0.5, 0.5), 1),
        ("regression", (3.0, 1.0, 2.0), 1),
        ("regression", (3.0, 1.0, 1.0), 2),
        ("multiclass", (0.9, 0.885, 0.87), 1),  # the third is within 2 % of the second, but not of the best
        ("multiclass", (0.9, 0.87, 0.89), 2),
        ("regression", (1.0, 1.015, 1.03), 1),
        ("regression", (1.03, 1.0, 1.03), 1),
    ],
)
def test_the_latest_of_those_as_good_as_the_best(planted, make_trainer, tmp_path, kind, values, epoch):
    data = planted(kind)
    best = BestCheckpoint(dirpath=tmp_path / "kept", filename="best", monitor=MAIN_METRIC, enable_version_counter=False)
    trainer = make_trainer(max_epochs=len(values), callbacks=[best], enable_checkpointing=True, num_sanity_val_steps=0)
    model = Says(data.modalities, data.target, "strong")
    model.values = values
    trainer.fit(model, data)
    assert [file.name for file in (tmp_path / "kept").iterdir()] == ["best.ckpt"]
    assert torch.load(best.best_model_path, weights_only=True)["epoch"] == epoch
    assert best.monitor == f"val/{model.task.main_metric}"
    assert float(best.best_model_score) == pytest.approx(values[epoch])


@pytest.mark.filterwarnings("ignore:Checkpoint directory")  # the first run's
@pytest.mark.parametrize("again", [MAIN_METRIC, "val/loss"])
def test_a_resumed_run_minds_its_metric(planted, make_trainer, tmp_path, again):
    data = planted()

    def train(monitor, epochs, **resumed):
        best = BestCheckpoint(dirpath=tmp_path, filename="best", monitor=monitor, enable_version_counter=False)
        model = Says(data.modalities, data.target, "strong")
        model.values = (0.9, 0.5, 0.5)
        trainer = make_trainer(max_epochs=epochs, callbacks=[best], enable_checkpointing=True, num_sanity_val_steps=0)
        trainer.fit(model, data, **resumed)
        return best

    train(MAIN_METRIC, 1)
    best = train(again, 3, ckpt_path=tmp_path / "best.ckpt")
    assert best.monitor == ("val/accuracy" if again == MAIN_METRIC else again)
    same = float(best.best_model_score) == pytest.approx(0.9)
    assert same == (again == MAIN_METRIC)


def test_no_tolerance_keeps_the_best_alone(planted, make_trainer, tmp_path):
    data = planted()
    best = BestCheckpoint(dirpath=tmp_path, filename="best", monitor=MAIN_METRIC, tolerance=0.0)
    trainer = make_trainer(max_epochs=3, callbacks=[best], enable_checkpointing=True, num_sanity_val_steps=0)
    model = Says(data.modalities, data.target, "strong")
    model.values = (0.9, 0.91, 0.909)
    trainer.fit(model, data)
    assert float(best.best_model_score) == pytest.approx(0.91)


@pytest.mark.filterwarnings("ignore:Checkpoint directory")  # the first run's
def test_a_resumed_run_compares_with_the_best_not_with_what_it_kept(planted, make_trainer, tmp_path):
    data = planted()

    def train(epochs, **resumed):
        best = BestCheckpoint(dirpath=tmp_path, filename="best", monitor=MAIN_METRIC, enable_version_counter=False)
        model = Says(data.modalities, data.target, "strong")
        model.values = (0.9, 0.885, 0.87)
        trainer = make_trainer(max_epochs=epochs, callbacks=[best], enable_checkpointing=True, num_sanity_val_steps=0)
        trainer.fit(model, data, **resumed)
        return best

    assert float(train(2).best_model_score) == pytest.approx(0.885)
    assert float(train(3, ckpt_path=tmp_path / "best.ckpt").best_model_score) == pytest.approx(0.885)


def test_a_run_that_goes_on_in_another_folder_keeps_models_there(planted, make_trainer, tmp_path):
    data = planted()

    def train(folder, epochs, values, **resumed):
        best = BestCheckpoint(dirpath=tmp_path / folder, filename="best", monitor=MAIN_METRIC)
        model = Says(data.modalities, data.target, "strong")
        model.values = values
        trainer = make_trainer(max_epochs=epochs, callbacks=[best], enable_checkpointing=True, num_sanity_val_steps=0)
        trainer.fit(model, data, **resumed)
        return best

    train("one", 1, (0.9,))
    with pytest.warns(UserWarning, match="The dirpath has changed"):
        best = train("two", 3, (0.0, 0.8, 0.7), ckpt_path=tmp_path / "one/best.ckpt")
    assert best.best_model_path == str(tmp_path / "two/best.ckpt")
    assert float(best.best_model_score) == pytest.approx(0.8)


def test_a_negative_tolerance_is_refused():
    with pytest.raises(ConfigError, match=r"`tolerance` to be at least 0, but got -0\.1"):
        BestCheckpoint(tolerance=-0.1)
