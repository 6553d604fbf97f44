"""Lightning's weight averaging, through real runs, against an average taken by hand."""

from functools import partial
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging
from torch.utils.data import DataLoader

from fusionlit.callbacks import BestCheckpoint, FusionWeightLogger, LastCheckpoint
from fusionlit.data import collate
from fusionlit.encoders import ConvEncoder
from fusionlit.models import CentralNet

CONFIGS = Path(__file__).parents[2] / "configs"


class ByHand(Callback):
    """0.9 of the average and 0.1 of the new weights, after every optimizer step."""

    def __init__(self):
        self.average = {}

    def on_train_batch_end(self, trainer, pl_module, *_):
        now = {name: x.clone() for name, x in pl_module.state_dict().items()}
        self.average = {
            name: (0.9 * self.average[name] + 0.1 * x if self.average and x.is_floating_point() else x)
            for name, x in now.items()
        }


@pytest.fixture
def data(planted):
    data = planted()
    data.train_dataloader = lambda: DataLoader(data.dataset("train"), batch_size=16, collate_fn=collate)
    return data


def make_model(data):
    torch.manual_seed(0)
    return CentralNet(data.modalities, data.target, partial(ConvEncoder, widths=(4, 8), norm="batch"))


@pytest.fixture
def train(data, make_trainer, tmp_path):
    def fit(epochs, folder="run", ckpt_path=None, callbacks=(), **options):
        average = EMAWeightAveraging(decay=0.9, **options)
        best = BestCheckpoint(filename="best", monitor="val/loss", enable_version_counter=False)
        watch = [best, LastCheckpoint(), FusionWeightLogger(), average, *callbacks]
        root = tmp_path / folder
        trainer = make_trainer(max_epochs=epochs, enable_checkpointing=True, callbacks=watch, default_root_dir=root)
        model = make_model(data)
        trainer.fit(model, data, ckpt_path=ckpt_path)
        return trainer, model

    return fit


def assert_same(state, expected):
    floats = {name: x for name, x in expected.items() if x.is_floating_point()}
    torch.testing.assert_close({name: state[name] for name in floats}, floats)
    assert any("running_var" in name for name in floats)


def test_a_run_ends_with_the_average_which_its_best_checkpoint_is(train, data, make_trainer):
    by_hand = ByHand()
    trainer, model = train(2, callbacks=[by_hand])
    assert_same(model.state_dict(), by_hand.average)
    path, score = trainer.checkpoint_callback.best_model_path, trainer.checkpoint_callback.best_model_score
    saved = torch.load(path, weights_only=True)
    assert saved["global_step"] == 8  # the last
    assert_same(saved["state_dict"], by_hand.average)
    with pytest.raises(AssertionError):
        assert_same(saved["current_model_state"], by_hand.average)

    alone = CentralNet.load_from_checkpoint(path)
    assert_same(alone.state_dict(), by_hand.average)
    assert all(norm.fitted for norm in alone.normalization.values())
    (result,) = make_trainer().validate(alone, data, verbose=False)
    assert result["val/loss"] == pytest.approx(score.item())


def test_a_test_after_the_fit_is_of_the_average(train, data, make_trainer):
    trainer, model = train(2)
    path = trainer.checkpoint_callback.best_model_path
    saved = torch.load(path, weights_only=True)
    (result,) = trainer.test(model, data, ckpt_path=path, verbose=False)
    assert_same(model.state_dict(), saved["state_dict"])
    (expected,) = make_trainer().test(CentralNet.load_from_checkpoint(path), data, verbose=False)
    assert result["test/loss"] == pytest.approx(expected["test/loss"])


def test_before_its_first_update_the_average_is_the_model_as_training_began(train, data, make_trainer):
    trainer, _ = train(1, update_starting_at_step=100)
    untrained = make_model(data)
    data.setup("fit")
    for name, norm in untrained.normalization.items():
        norm.fit(data.input_statistics()[name])
    (expected,) = make_trainer().validate(untrained, data, verbose=False)
    assert trainer.checkpoint_callback.best_model_score.item() == pytest.approx(expected["val/loss"])


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
def test_a_resumed_run_ends_as_the_unbroken_one(train, tmp_path):
    _, whole = train(3)
    train(1, "part")
    _, rest = train(3, "part", ckpt_path=tmp_path / "part" / "checkpoints" / "best.ckpt")
    torch.testing.assert_close(rest.state_dict(), whole.state_dict())


def test_the_command_line_tests_the_average(fusionlit, tmp_path, planted_signals, capsys):
    trainer = tmp_path / "trainer.yaml"
    trainer.write_text("max_epochs: 2\ncallbacks:\n- class_path: EMAWeightAveraging\n  init_args: {decay: 0.5}\n")
    files = [f"--data={CONFIGS}/data/planted_signals.yaml", f"--data.path={planted_signals}"]
    fusionlit("fit", *files, f"--model={CONFIGS}/model/centralnet.yaml", f"--trainer={trainer}")
    (run,) = (tmp_path / "lightning_logs").iterdir()
    best = run / "checkpoints" / "best.ckpt"
    saved = torch.load(best, weights_only=True)
    assert saved["averaging_state"]["n_averaged"] > 0
    assert any((x != saved["current_model_state"][name]).any() for name, x in saved["state_dict"].items())
    fusionlit("test", f"--config={run}/config.yaml", f"--ckpt_path={best}")
    assert "test/loss" in capsys.readouterr().out
