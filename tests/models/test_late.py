"""Late fusion asks its operator whether a head must follow, and for which targets it is."""

from functools import partial

import pytest
import torch

from fusionlit.encoders import MLPEncoder
from fusionlit.errors import ConfigError
from fusionlit.fusion import Add, Concat, DempsterShafer, EnergyWeightedAverage, GatedFusion, WeightedAverage
from fusionlit.models import LateFusion
from fusionlit.types import TargetSpec

SHAPES = {"rgb": (4,), "lidar": (6,)}
TARGETS = {"multiclass": TargetSpec("multiclass", 3), "binary": TargetSpec("binary", 1)}
encoder = partial(MLPEncoder, widths=[8])


class Loudest(Add):
    """A user's own, which says nothing itself: it is an `Add`."""


@pytest.mark.parametrize("operator", [Add, WeightedAverage, DempsterShafer, EnergyWeightedAverage, Loudest])
def test_no_head_follows_what_gives_a_prediction(operator):
    model = LateFusion(SHAPES, TARGETS["multiclass"], encoder, fusion=operator)
    assert model.joint is None
    assert LateFusion(SHAPES, TARGETS["multiclass"], encoder, fusion=operator, embedding=5).joint is not None


@pytest.mark.parametrize("operator", [Concat, GatedFusion])
def test_a_head_follows_what_does_not(operator):
    assert LateFusion(SHAPES, TARGETS["multiclass"], encoder, fusion=operator).joint is not None


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("operator", [DempsterShafer, EnergyWeightedAverage])
def test_fused_probabilities_of_members_that_are_there(operator, kind):
    model = LateFusion(SHAPES, TARGETS[kind], encoder, fusion=operator).eval()
    inputs = {name: torch.randn(5, *shape) for name, shape in SHAPES.items()}
    here, gone = torch.ones(5, dtype=torch.bool), torch.zeros(5, dtype=torch.bool)
    alone = model(inputs, {"rgb": here, "lidar": gone}).prediction
    said = model.heads["rgb"](model.encoders["rgb"](inputs["rgb"]))
    torch.testing.assert_close(alone, operator({"rgb": said.shape[1:]})({"rgb": said}))
    probability = model.task.predict(model(inputs).prediction)
    assert probability.shape == ((5, 3) if kind == "multiclass" else (5,))
    assert list(model.fusion_weights()["prediction"]) == ["rgb", "lidar"]


@pytest.mark.parametrize("operator", [DempsterShafer, EnergyWeightedAverage])
def test_other_targets_are_refused(operator):
    with pytest.raises(ConfigError, match=f"'multiclass' or 'binary' target for {operator.__name__}"):
        LateFusion(SHAPES, TargetSpec("regression", 3), encoder, fusion=operator)
