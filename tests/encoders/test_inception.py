import pytest
import torch
from torch.nn import functional as F

from fusionlit.encoders import InceptionEncoder, MLPHead
from fusionlit.errors import ConfigError


def test_defaults_have_the_published_number_of_parameters():
    # tsai publishes 455,490 for InceptionTime(3, 2), with our odd kernels; where a shortcut has as many channels after
    # it as before, theirs is a norm alone, while ours has the 1x1 convolution of the authors' code.
    encoder, head = InceptionEncoder((3, 50)), MLPHead((128, 50), 2, pool="mean")
    count = sum(p.numel() for module in (encoder, head) for p in module.parameters())
    assert count == 455_490 + 128 * 128
    assert encoder.stage_shapes == ((128, 50), (128, 50))


def normed(y):
    dims = [0, *range(2, y.ndim)]
    return (y - y.mean(dims, keepdim=True)) / (y.var(dims, correction=0, keepdim=True) + 1e-5).sqrt()


@pytest.mark.parametrize(("channels", "positions"), [(3, (21,)), (1, (21,)), (3, (7, 6)), (1, (7, 6))])
def test_a_stage_by_hand(channels, positions):
    torch.manual_seed(0)
    encoder = InceptionEncoder(
        (channels, *positions), (8,), (3, 5, 1), modules=2, downsample="max_pool", channel_dropout=0.0
    )
    conv, pool = (F.conv1d, F.max_pool1d) if len(positions) == 1 else (F.conv2d, F.max_pool2d)
    filters = [p.squeeze(2) if len(positions) == 1 else p for p in encoder.parameters() if p.ndim == 4]
    x = torch.randn(4, channels, *positions)

    def module(y, filters):
        narrow = conv(y, filters.pop(0)) if y.shape[1] > 1 else y
        sides = [conv(narrow, filters.pop(0), padding=padding) for padding in (1, 2, 0)]
        pooled = conv(pool(y, 3, stride=1, padding=1), filters.pop(0))
        return normed(torch.cat([*sides, pooled], 1)).relu()

    y = module(module(x, filters), filters)
    y = (y + normed(conv(x, filters.pop(0)))).relu()
    assert not filters
    torch.testing.assert_close(encoder(x), pool(y, 2))
    assert encoder.out_shape == (8, *(n // 2 for n in positions))


@pytest.mark.parametrize(("modules", "offsets"), [(1, range(-3, 4)), (2, range(-6, 7))])
def test_receptive_field_is_that_of_the_widest_kernels(modules, offsets):
    encoder = InceptionEncoder((1, 31), (6,), (3, 7), modules, norm="none")
    for parameter in encoder.parameters():
        torch.nn.init.constant_(parameter, 0.1)  # with positive inputs no ReLU stops a gradient
    x = torch.ones(1, 1, 31, requires_grad=True)
    encoder(x)[0, :, 15].sum().backward()
    assert {i - 15 for i in x.grad[0, 0].nonzero().flatten().tolist()} == set(offsets)


@pytest.mark.parametrize(("pool", "by_hand"), [("mean", lambda x: x.mean(-1)), ("max", lambda x: x.max(-1).values)])
def test_pool_ends_the_last_stage(pool, by_hand):
    torch.manual_seed(0)
    arguments = {"widths": (4, 8), "modules": (1, 2), "downsample": ("max_pool", "none")}
    encoder, plain = InceptionEncoder((2, 20), **arguments, pool=pool), InceptionEncoder((2, 20), **arguments)
    for weight, new in zip(plain.parameters(), encoder.parameters(), strict=True):
        weight.data = new.data
    x = torch.randn(3, 2, 20)
    assert (encoder.stage_shapes, plain.stage_shapes) == (((4, 10), (8,)), ((4, 10), (8, 10)))
    torch.testing.assert_close(encoder(x), by_hand(plain(x)))


def test_channel_dropout_zeroes_whole_channels():
    torch.manual_seed(0)
    encoder = InceptionEncoder((2, 16), (400,), modules=1, norm="none", channel_dropout=0.3)
    x = torch.randn(1, 2, 16)
    kept, whole = encoder(x), encoder.eval()(x)
    lost, alive = (kept == 0).all(2), (whole > 0).any(2)
    assert 0.2 < (lost & alive).sum() / alive.sum() < 0.4
    torch.testing.assert_close(kept[~lost], whole[~lost] / 0.7)


@pytest.mark.parametrize(
    ("in_shape", "arguments", "message"),
    [
        ((3,), {}, r"`in_shape` of InceptionEncoder to be \(C, T\) or \(C, H, W\), but got \(3,\).*MLPEncoder"),
        ((3, 8), {"widths": ()}, "`widths` of InceptionEncoder to hold at least one number, but it is empty"),
        ((3, 8), {"kernel_sizes": ()}, "`kernel_sizes` of InceptionEncoder to hold at least one number, but it is"),
        ((3, 8), {"kernel_sizes": (3, 10)}, "Expected `kernel_sizes` to be odd, so .*, but got 10"),
        (
            (3, 8),
            {"widths": (32, 30)},
            r"a multiple of 4, the number of branches \(3 `kernel_sizes` and a pool\), but got \[32,",
        ),
        ((3, 8), {"modules": (1, 0)}, "Expected `modules` to be at least 1, but got 0"),
        ((3, 8), {"modules": (1, 1, 1)}, r"one per stage, 2 as in `widths`, but got 3: \[1, 1, 1\]"),
        ((3, 8), {"downsample": "stride"}, r"`downsample` to be one of \('max_pool', 'none'\), but got 'stride'"),
        ((3, 8), {"norm": "layer"}, r"Expected `norm` to be one of \('none', 'batch', 'group'\), but got 'layer'"),
        ((3, 8), {"pool": "last"}, r"Expected `pool` to be one of \('none', 'mean', 'max'\), but got 'last'"),
        (
            (3, 3),
            {"downsample": "max_pool"},
            r"`in_shape`=\(3, 3\) is down to \(1,\) before stage 2. Use at most",
        ),
    ],
)
def test_errors(in_shape, arguments, message):
    with pytest.raises(ConfigError, match=message):
        InceptionEncoder(in_shape, **arguments)
