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


@pytest.fixture
def train(planted, make_trainer, tmp_path):
    """Trains while the metric of each epoch is the next value, and gives the callback."""

    def fit(values, kind="multiclass", resume=None, folder="kept", monitor=MAIN_METRIC, **options):
        data = planted(kind)
        options |= {"dirpath": tmp_path / folder, "filename": "best", "enable_version_counter": False}
        best = BestCheckpoint(monitor=monitor, **options)
        model = Says(data.modalities, data.target, "strong")
        model.values = values
        length = {"max_epochs": len(values), "num_sanity_val_steps": 0}
        trainer = make_trainer(callbacks=[best], enable_checkpointing=True, **length)
        trainer.fit(model, data, ckpt_path=resume and resume.best_model_path)
        return best

    return fit


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
def test_the_latest_of_those_as_good_as_the_best(train, tmp_path, kind, values, epoch):
    best = train(values, kind)
    assert [file.name for file in (tmp_path / "kept").iterdir()] == ["best.ckpt"]
    assert torch.load(best.best_model_path, weights_only=True)["epoch"] == epoch
    assert best.monitor == ("val/accuracy" if kind == "multiclass" else "val/mse")
    assert float(best.best_model_score) == pytest.approx(values[epoch])


@pytest.mark.filterwarnings("ignore:Checkpoint directory")  # the first run's
@pytest.mark.parametrize("again", [MAIN_METRIC, "val/loss"])
def test_a_resumed_run_minds_its_metric(train, again):
    first = train((0.9,))
    best = train((0.9, 0.5, 0.5), resume=first, monitor=again)
    assert best.monitor == ("val/accuracy" if again == MAIN_METRIC else again)
    same = float(best.best_model_score) == pytest.approx(0.9)
    assert same == (again == MAIN_METRIC)


def test_no_tolerance_keeps_the_best_alone(train):
    assert float(train((0.9, 0.91, 0.909), tolerance=0.0).best_model_score) == pytest.approx(0.91)


@pytest.mark.filterwarnings("ignore:Checkpoint directory")  # the first run's
def test_a_resumed_run_compares_with_the_best_not_with_what_it_kept(train):
    first = train((0.9, 0.885))
    assert float(first.best_model_score) == pytest.approx(0.885)
    assert float(train((0.9, 0.885, 0.87), resume=first).best_model_score) == pytest.approx(0.885)


def test_a_run_that_goes_on_in_another_folder_keeps_models_there(train):
    first = train((0.9,))
    with pytest.warns(UserWarning, match="The dirpath has changed"):
        best = train((0.0, 0.8, 0.7), resume=first, folder="other")
    assert best.best_model_path.endswith("other/best.ckpt")
    assert float(best.best_model_score) == pytest.approx(0.8)
    with pytest.warns(UserWarning, match="The dirpath has changed"):
        assert not train((0.9,), resume=first, folder="untrained").best_model_path


def test_a_negative_tolerance_is_refused():
    with pytest.raises(ConfigError, match=r"`tolerance` to be at least 0, but got -0\.1"):
        BestCheckpoint(tolerance=-0.1)
