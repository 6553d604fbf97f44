import pytest
import torch

from fusionlit.errors import ConfigError
from fusionlit.tasks import Regression
from fusionlit.types import TargetSpec

SPEC = TargetSpec("regression", 2, ("x", "y"))
TARGET = torch.tensor([[0.0, 1.0], [2.0, -1.0], [4.0, 3.0]])
PREDICTION = torch.tensor([[0.5, 1.0], [2.0, 2.0], [3.0, 1.0]])  # errors 0.5, 0, 0, 3, -1, -2


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("mse", (0.25 + 9 + 1 + 4) / 6),
        ("mae", (0.5 + 3 + 1 + 2) / 6),
        ("huber", (0.125 + 2.5 + 0.5 + 1.5) / 6),
    ],
)
def test_loss_in_closed_form(loss, expected):
    assert Regression(SPEC, loss).loss(PREDICTION, TARGET).item() == pytest.approx(expected)


def test_metrics_in_closed_form():
    metrics = Regression(SPEC).metrics()
    metrics.update(PREDICTION, TARGET)
    r2 = ((1 - 1.25 / 8) + (1 - 13 / 8)) / 2  # both outputs have a sum of squares of 8 about their mean
    assert metrics.compute() == pytest.approx({"mse": 14.25 / 6, "mae": 6.5 / 6, "r2": r2})


def test_r2_of_one_output():
    metrics = Regression(TargetSpec("regression", 1)).metrics()
    metrics.update(PREDICTION[:, :1], TARGET[:, :1])
    assert metrics.compute()["r2"].item() == pytest.approx(1 - 1.25 / 8)


def test_integer_targets():
    loss = Regression(SPEC).loss(PREDICTION, TARGET.long())
    assert loss.item() == pytest.approx(14.25 / 6)


def test_predict_is_the_prediction():
    assert Regression(SPEC).predict(PREDICTION) is PREDICTION


def test_no_such_loss():
    with pytest.raises(
        ConfigError, match=r"Expected `loss` of Regression to be one of \['mse', 'mae', 'huber'\], but got"
    ):
        Regression(SPEC, loss="l2")
