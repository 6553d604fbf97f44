import pytest
import torch

from fusionlit.encoders import MLPEncoder
from fusionlit.errors import ConfigError


def test_stages_are_relu_of_linear():
    torch.manual_seed(0)
    encoder = MLPEncoder((3, 4), (6, 5))
    x = torch.randn(2, 3, 4)
    w1, b1, w2, b2 = encoder.parameters()
    first = (x.reshape(2, 12) @ w1.T + b1).relu()
    torch.testing.assert_close(encoder.stages[0](x), first)
    torch.testing.assert_close(encoder(x), (first @ w2.T + b2).relu())
    assert encoder.stage_shapes == ((6,), (5,))


def test_dropout_is_after_every_stage():
    torch.manual_seed(0)
    encoder = MLPEncoder((500,), (500, 500), dropout=0.5)
    whole = encoder.eval().stages[0](torch.ones(1, 500))
    for stage in encoder.train().stages:
        assert 0.6 < (stage(whole) == 0).float().mean() < 0.9  # half by the ReLU, half of the rest by dropout


@pytest.mark.parametrize(
    ("widths", "message"),
    [
        ((), "Expected `widths` of MLPEncoder to hold at least one width, but it is empty"),
        ((3, 0), r"every width in `widths` to be at least 1, but got \[3, 0\]"),
    ],
)
def test_errors(widths, message):
    with pytest.raises(ConfigError, match=message):
        MLPEncoder((3,), widths)
