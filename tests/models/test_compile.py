"""A compiled network is the same model. (That every strategy compiles to one graph is a law of `check_strategy`.)"""

import copy
import pickle
import shutil
from functools import partial

import pytest
import torch
from lightning import seed_everything
from torch.testing import assert_close

from fusionlit.encoders import ConvEncoder
from fusionlit.errors import ConfigError
from fusionlit.models import CentralNet, TrainingConfig

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile wants a C++ compiler on a CPU")


def train(planted, make_trainer, mode, folder):
    seed_everything(0, verbose=False)
    data = planted(presence=True)
    training = TrainingConfig(partial(torch.optim.SGD, lr=0.1), compile_mode=mode)
    model = CentralNet(data.modalities, data.target, partial(ConvEncoder, widths=(4,)), training=training)
    trainer = make_trainer(max_epochs=1)
    trainer.fit(model, datamodule=data)
    trainer.save_checkpoint(folder / f"{mode}.ckpt")
    return model, trainer.callback_metrics


@pytest.mark.filterwarnings("ignore")  # of torch's compiler about itself
def test_compiled_training_is_that_of_the_eager_network(planted, make_trainer, tmp_path, monkeypatch):
    calls = []
    compile_in_mode = torch.compile

    def count(function, mode):
        compiled = compile_in_mode(function, mode=mode, fullgraph=True)
        return lambda *inputs: calls.append(mode) or compiled(*inputs)

    monkeypatch.setattr(torch, "compile", count)
    (eager, expected), (compiled, found) = (train(planted, make_trainer, mode, tmp_path) for mode in (None, "default"))
    assert calls == ["default"] * (2 + 4 + 4)  # the sanity check's batches, those of training and of validation
    assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert_close(compiled.state_dict(), eager.state_dict(), atol=1e-4, rtol=1e-3)
    saved = torch.load(tmp_path / "default.ckpt", weights_only=True)
    assert list(saved["state_dict"]) == list(eager.state_dict())
    for copied in (copy.deepcopy(compiled), pickle.loads(pickle.dumps(compiled))):
        assert copied._compiled is None


def test_another_mode_is_refused():
    with pytest.raises(ConfigError, match=r"Expected `compile_mode` to be one of .*reduce-overhead.* but got 'fast'"):
        TrainingConfig(compile_mode="fast")
