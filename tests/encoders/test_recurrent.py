import pytest
import torch
from torch import nn

from fusionlit.encoders import RecurrentEncoder
from fusionlit.errors import ConfigError


def layer_of(encoder, stage, kind, bidirectional):
    """torch's own layer with the weights of a stage."""
    weights = list(encoder.stages[stage].parameters())
    hidden, channels = weights[1].shape[1], weights[0].shape[1]
    layer = kind(channels, hidden, bidirectional=bidirectional)
    for mine, its in zip(weights, layer.parameters(), strict=True):
        its.data.copy_(mine)
    return layer


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(("cell", "kind"), [("gru", nn.GRU), ("lstm", nn.LSTM)])
def test_stages_are_torchs_layers_with_the_mean_of_each_two_steps_between(cell, kind, bidirectional):
    torch.manual_seed(0)
    encoder = RecurrentEncoder((3, 11), (4, 6), cell, bidirectional)
    x = torch.randn(5, 3, 11)
    first, _ = layer_of(encoder, 0, kind, bidirectional)(x.permute(2, 0, 1))  # (T, B, C)
    halved = (first[0:10:2] + first[1:10:2]) / 2
    second, _ = layer_of(encoder, 1, kind, bidirectional)(halved)
    assert encoder.stage_shapes == ((4, 5), (6, 5))
    torch.testing.assert_close(encoder.stages[0](x), halved.permute(1, 2, 0))
    torch.testing.assert_close(encoder(x), second.permute(1, 2, 0))


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("pool", ["mean", "max", "last"])
def test_pool_makes_a_vector_of_the_last_stage(pool, bidirectional):
    torch.manual_seed(0)
    encoder = RecurrentEncoder((3, 9), (4,), bidirectional=bidirectional, pool=pool)
    x = torch.randn(5, 3, 9)
    states, last = layer_of(encoder, 0, nn.GRU, bidirectional)(x.permute(2, 0, 1))
    expected = {"mean": states.mean(0), "max": states.max(0).values, "last": torch.cat(list(last), dim=1)}
    assert encoder.stage_shapes == ((4,),)
    torch.testing.assert_close(encoder(x), expected[pool])


@pytest.mark.parametrize(
    ("arguments", "gates", "directions"),
    [({}, 3, 1), ({"cell": "lstm"}, 4, 1), ({"bidirectional": True}, 3, 2)],
)
def test_number_of_parameters(arguments, gates, directions):
    encoder = RecurrentEncoder((3, 16), (8, 6), **arguments)
    h1, h2 = 8 // directions, 6 // directions
    by_hand = directions * gates * (h1 * (3 + h1) + 2 * h1 + h2 * (8 + h2) + 2 * h2)
    assert sum(p.numel() for p in encoder.parameters()) == by_hand


@pytest.mark.parametrize(("bidirectional", "seen"), [(False, 6), (True, 9)])
def test_one_direction_sees_the_past_alone(bidirectional, seen):
    torch.manual_seed(0)
    encoder = RecurrentEncoder((1, 9), (4, 4), bidirectional=bidirectional, downsample="none")
    x = torch.randn(1, 1, 9, requires_grad=True)
    encoder(x)[0, :, 5].sum().backward()
    assert x.grad[0, 0].nonzero().flatten().tolist() == list(range(seen))


def test_dropout_is_after_every_layer():
    torch.manual_seed(0)
    encoder = RecurrentEncoder((2, 10), (200, 200), downsample="none", dropout=0.3)
    x = torch.randn(2, 2, 10)
    for stage in encoder.stages:
        kept, whole = stage(x), stage.eval()(x)
        assert 0.25 < (kept == 0).float().mean() < 0.35
        torch.testing.assert_close(kept[kept != 0], (whole / 0.7)[kept != 0])
        x = whole


@pytest.mark.parametrize(
    ("in_shape", "arguments", "message"),
    [
        ((3,), {}, r"`in_shape` of RecurrentEncoder to be \(C, T\), but got \(3,\). For images use ConvEncoder"),
        ((3, 8, 8), {}, r"but got \(3, 8, 8\)"),
        ((3, 8), {"widths": ()}, "`widths` of RecurrentEncoder to hold at least one width, but it is empty"),
        ((3, 8), {"widths": (4, 0)}, r"every width in `widths` to be at least 1, but got \[4, 0\]"),
        (
            (3, 8),
            {"widths": (4, 5), "bidirectional": True},
            r"to be even, since `bidirectional` splits it in half, but got \[4, 5\]",
        ),
        ((3, 8), {"cell": "rnn"}, r"Expected `cell` to be one of \('gru', 'lstm'\), but got 'rnn'"),
        ((3, 8), {"downsample": "max_pool"}, r"`downsample` to be one of \('avg_pool', 'none'\), but got 'max_pool'"),
        ((3, 8), {"pool": "state"}, r"`pool` to be one of \('none', 'mean', 'max', 'last'\), but got 'state'"),
        ((3, 2), {}, r"`in_shape`=\(3, 2\) is down to \(1,\) before stage 2. Use at most 1 widths"),
    ],
)
def test_errors(in_shape, arguments, message):
    with pytest.raises(ConfigError, match=message):
        RecurrentEncoder(in_shape, **arguments)
