from functools import partial

import pytest
import torch

from fusionlit.encoders import MLPHead
from fusionlit.errors import ConfigError
from fusionlit.testing import encoders, laws


class HeadCase(encoders.EncoderCase):
    def make(self):
        return self.factory(self.in_shape)


@pytest.mark.parametrize(("hidden", "pool"), [((), "none"), ((6, 5), "none"), ((6,), "mean"), ((), "max")])
def test_keeps_the_laws_of_every_part(hidden, pool):
    head = HeadCase(partial(MLPHead, out_size=3, hidden=hidden, dropout=0.1, pool=pool), (4, 2, 2))
    common = set(encoders.LAWS) - {laws.out_shape_is_the_outputs}
    laws.uphold(head, [*common, laws.gradients_are_right, laws.compiles_to_one_graph])


@pytest.mark.parametrize(
    ("in_shape", "out_size", "hidden", "count"),
    [
        ((200, 8, 8), 9, (1000, 100), 12_902_009),  # position nets, concat (facts 1)
        ((200, 8, 8), 2, (512, 128), 6_554_112 + 65_664 + 258),  # shape nets
        ((18,), 9, (90,), 18 * 90 + 90 + 819),
        ((4, 3), 2, (), 26),
    ],
)
def test_number_of_parameters(in_shape, out_size, hidden, count):
    with torch.device("meta"):
        head = MLPHead(in_shape, out_size, hidden)
    assert sum(p.numel() for p in head.parameters()) == count


def test_linear_head_is_linear_in_the_flattened_features():
    torch.manual_seed(0)
    head = MLPHead((4, 3), 2)
    x = torch.randn(5, 4, 3)
    weight, bias = head.parameters()
    torch.testing.assert_close(head(x), x.reshape(5, 12) @ weight.T + bias)


def test_no_activation_nor_dropout_after_the_last_layer():
    torch.manual_seed(0)
    head = MLPHead((6,), 50, hidden=(40,), dropout=0.5)
    w1, b1, w2, b2 = head.parameters()
    x = torch.randn(4, 6)
    prediction = head.eval()(x)
    torch.testing.assert_close(prediction, (x @ w1.T + b1).relu() @ w2.T + b2)
    assert (prediction < 0).any()
    assert (head.train()(x) != 0).all()


@pytest.mark.parametrize("positions", [(7,), (3, 5), ()])
@pytest.mark.parametrize("pool", ["mean", "max"])
def test_pooled_head_is_the_head_of_the_pooled_features(pool, positions):
    torch.manual_seed(0)
    head, of_vectors = MLPHead((4, *positions), 2, hidden=(6,), pool=pool), MLPHead((4,), 2, hidden=(6,))
    of_vectors.load_state_dict(head.state_dict())
    x = torch.randn(5, 4, *positions)
    flat = x.reshape(5, 4, -1)
    torch.testing.assert_close(head(x), of_vectors(flat.mean(-1) if pool == "mean" else flat.max(-1).values))
    assert sum(p.numel() for p in head.parameters()) == 4 * 6 + 6 + 6 * 2 + 2


@pytest.mark.parametrize(
    ("out_size", "hidden", "message"),
    [
        (2, (3, 0), r"every width in `hidden` to be at least 1, but got \[3, 0\]"),
        (0, (), r"every width in `out_size` to be at least 1, but got \[0\]"),
    ],
)
def test_errors(out_size, hidden, message):
    with pytest.raises(ConfigError, match=message):
        MLPHead((3,), out_size, hidden)


def test_unknown_pool():
    with pytest.raises(ConfigError, match=r"Expected `pool` to be one of \('none', 'mean', 'max'\), but got 'average'"):
        MLPHead((3,), 2, pool="average")
