"""Hyperparameters as plain configuration."""

from functools import partial
from pathlib import Path
from pydoc import locate

import pytest
import torch
import torchvision
from jsonargparse._util import get_import_path
from lightning import Trainer
from torch import Tensor
from torch.optim import SGD

from fusionlit.encoders import ConvEncoder, TorchvisionEncoder
from fusionlit.errors import ConfigError
from fusionlit.fusion import WeightedSum
from fusionlit.models import OGMGE, CentralNet, TrainingConfig, Unimodal
from fusionlit.models.hparams import class_path, to_config, without_initial_files
from fusionlit.tasks import MulticlassClassification
from fusionlit.types import TargetSpec


def test_classes_partials_and_dataclasses_are_named():
    config = to_config(
        {
            "encoder": partial(ConvEncoder, widths=(4, 8)),
            "training": TrainingConfig(optimizer=SGD),
            "target": TargetSpec("binary", 1, ("no", "yes")),
            "path": Path("a/b"),
        }
    )
    assert config["encoder"] == {
        "class_path": "fusionlit.encoders.ConvEncoder",
        "init_args": {"widths": [4, 8]},
    }
    assert config["training"]["optimizer"] == {"class_path": "torch.optim.SGD"}
    assert config["target"] == {"kind": "binary", "size": 1, "names": ["no", "yes"]}
    assert config["path"] == "a/b"


@pytest.mark.parametrize("cls", [CentralNet, ConvEncoder, WeightedSum, MulticlassClassification, OGMGE, SGD, Tensor])
def test_classes_have_their_public_names(cls):
    path = class_path(cls)
    assert locate(path) is cls
    assert path == get_import_path(cls)  # as jsonargparse names it in config.yaml


def test_a_class_of_no_package_is_named_by_its_module():
    class Outer:
        class Inner:
            pass

    assert class_path(Outer.Inner) == f"{__name__}.{Outer.Inner.__qualname__}"
    assert class_path(Path) == "pathlib.Path"


@pytest.mark.parametrize("value", [lambda shape: shape, partial(ConvEncoder, (4, 8)), torch.nn.ReLU(), object()])
def test_what_has_no_name_is_refused_with_the_field(value):
    with pytest.raises(ConfigError, match=r"Expected `model.a\[1\]` to be something that a checkpoint can name"):
        to_config({"a": [1, value]})


def test_initial_files_are_left_out_and_nothing_else():
    def config(weights):
        arguments = {"weights": weights, "backbone": "resnet18"}
        encoder = {"class_path": "fusionlit.encoders.TorchvisionEncoder", "init_args": arguments}
        return {"weights": "raw", "encoders": {"rgb": encoder}, "layers": [encoder]}

    assert without_initial_files(config("file.pt")) == config(None)


def test_a_checkpoint_loads_without_the_file_of_initial_weights(tmp_path):
    weights = tmp_path / "resnet18.pt"
    torch.save(torchvision.models.resnet18().state_dict(), weights)
    encoder = partial(TorchvisionEncoder, backbone="resnet18", weights=str(weights))
    model = Unimodal({"rgb": (3, 32, 32)}, TargetSpec("multiclass", 2), "rgb", encoder)
    trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    trainer.strategy.connect(model)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    weights.unlink()
    loaded = Unimodal.load_from_checkpoint(tmp_path / "model.ckpt")
    x = {"rgb": torch.randn(2, 3, 32, 32)}
    torch.testing.assert_close(loaded.eval()(x).prediction, model.eval()(x).prediction)
