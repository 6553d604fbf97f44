"""The host never waits for the device in a step.

No GPU is needed for that: fake tensors have a device and shapes but no values, so that whatever asks for a value, or
has a shape that depends on one, raises. (Backward is torch's own, and wants a real device.)
"""

from functools import partial

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode

from fusionlit.data.replicator.points import Rays
from fusionlit.encoders import ConvEncoder
from fusionlit.models import CentralNet, TrainingConfig
from fusionlit.types import TargetSpec

SHAPE = (3, 16)
TARGETS = {
    "multiclass": (TargetSpec("multiclass", 4), torch.arange(6) % 4),
    "binary": (TargetSpec("binary", 1), torch.arange(6) % 2),
    "multilabel": (TargetSpec("multilabel", 3), torch.arange(18).view(6, 3) % 2),
    "regression": (TargetSpec("regression", 3), torch.arange(18.0).view(6, 3)),
}


@pytest.fixture
def on_fake_gpu(monkeypatch):
    monkeypatch.setattr(torch.__future__, "get_overwrite_module_params_on_conversion", lambda: True)
    mode = FakeTensorMode()
    # A copy to the host waits too, but is no matter to a fake tensor.
    monkeypatch.setattr(torch.Tensor, "cpu", copies_to_the_host, raising=False)
    with mode:
        yield lambda tensor: mode.from_tensor(tensor).to("cuda")


def copies_to_the_host(tensor):
    raise AssertionError("This waits for the device.")


def batch_for(target, move):
    names = ["a", "b"]
    return {
        "inputs": {name: move(torch.randn(6, *SHAPE)) for name in names},
        "presence": {name: move(torch.ones(6, dtype=torch.bool)) for name in names},
        "target": move(target),
        "index": move(torch.arange(6)),
    }


def model_for(spec, target, monkeypatch):
    """A model behind its first batches, whose values are checked once."""
    shapes = dict.fromkeys(["a", "b"], SHAPE)
    model = CentralNet(shapes, spec, partial(ConvEncoder, widths=(4, 8)), training=TrainingConfig(modality_dropout=0.5))
    for method in ("log", "log_dict"):
        monkeypatch.setattr(model, method, lambda *_, **__: None)
    for training in (True, False):
        model.train(training)
        model.training_step(batch_for(target, torch.clone), 0)
    model._any_held_out = None  # of an epoch on another device
    return model


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("step", ["training_step", "validation_step", "test_step"])
@pytest.mark.parametrize("measuring", [False, True])
def test_no_step_waits(kind, step, measuring, monkeypatch, request):
    spec, target = TARGETS[kind]
    model = model_for(spec, target, monkeypatch).train(step == "training_step")
    model.measuring = measuring
    move = request.getfixturevalue("on_fake_gpu")
    model._apply(move)
    out = getattr(model, step)(batch_for(target, move), 0)
    assert (out if step == "training_step" else out["loss"]).is_cuda


def test_points_are_made_without_waiting(request):
    rays = Rays(torch.linspace(-0.5, 0.5, 8), torch.linspace(-0.4, 0.4, 6), "image")
    move = request.getfixturevalue("on_fake_gpu")
    rays._directions, rays._order = move(rays._directions), tuple(map(move, rays._order))
    assert rays(move(torch.ones(2, 8, 6))).shape == (2, 4, 6, 8)


@pytest.mark.parametrize(
    ("waits", "error"),
    [
        (lambda x: x.sum().item(), DataDependentOutputException),
        (lambda x: bool((x > 0).any()), DataDependentOutputException),
        (lambda x: x[x > 0], DynamicOutputShapeException),
        (lambda x: x.long().bincount(minlength=3), DynamicOutputShapeException),
        (lambda x: x.cpu(), AssertionError),
    ],
)
def test_what_waits_is_found(waits, error, on_fake_gpu):
    with pytest.raises(error):
        waits(on_fake_gpu(torch.ones(3)))
