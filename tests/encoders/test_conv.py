import pytest
import torch
from torch.nn import functional as F

from fusionlit.encoders import ConvEncoder
from fusionlit.errors import ConfigError


def parameters(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("in_shape", "arguments", "count"),
    [
        # The notebooks' position nets, shape nets, and the later ones (facts 1).
        ((4, 64, 64), {"widths": (25, 50, 100)}, 57_325),
        ((8, 64, 64), {"widths": (50, 100, 200)}, 228_950),
        ((4, 64, 64), {"widths": (50, 100, 200)}, 227_150),
        ((4, 64, 64), {"widths": (50, 100, 200, 200)}, 227_150 + 360_200),
        ((4, 64, 64), {"widths": (25, 50), "dense": (10, 7)}, 925 + 11_300 + (50 * 16 * 16 * 10 + 10) + 77),
        # Signals: 9 channels, kernel 9; batch norm takes the place of the bias and has two parameters a channel.
        ((9, 128), {"widths": (32, 64), "kernel_size": 9}, 9 * 9 * 32 + 32 + 32 * 9 * 64 + 64),
        ((9, 128), {"widths": (32,), "kernel_size": 9, "norm": "batch"}, 9 * 9 * 32 + 2 * 32),
        ((9, 128), {"widths": (32,), "kernel_size": 9, "norm": "group"}, 9 * 9 * 32 + 2 * 32),
        ((9, 128), {"widths": (32, 64), "kernel_size": (9, 3)}, 9 * 9 * 32 + 32 + 32 * 3 * 64 + 64),
        ((9, 128), {"widths": (4,), "residual_units": 2, "norm": "batch"}, 9 * 3 * 4 + 8 + 4 * (4 * 3 * 4 + 8)),
    ],
)
def test_number_of_parameters(in_shape, arguments, count):
    assert parameters(ConvEncoder(in_shape, **arguments)) == count


def test_published_difference_of_the_strided_form():
    widths = (50, 100, 200, 200)
    added = parameters(ConvEncoder((4, 64, 64), widths, downsample="conv")) - parameters(
        ConvEncoder((4, 64, 64), widths)
    )
    assert added == 22_550 + 90_100 + 2 * 360_200
    assert 2 * added == 4_545_505 - 2_879_405


@pytest.mark.parametrize("sizes", [(8,), (13,), (9, 12), (10, 7)])
@pytest.mark.parametrize("kernel_size", [1, 3, 7])
@pytest.mark.parametrize("downsample", ["max_pool", "stride", "conv"])
def test_shapes_in_closed_form(sizes, kernel_size, downsample):
    encoder = ConvEncoder((2, *sizes), (3, 4), kernel_size, downsample, dense=(5,))

    def halve(n):
        return n // 2 if downsample == "max_pool" else -(-n // 2)

    first, second = [halve(n) for n in sizes], [halve(halve(n)) for n in sizes]
    assert encoder.stage_shapes == ((3, *first), (4, *second), (5,))
    x, shapes = torch.zeros(1, 2, *sizes), []
    for stage in encoder.stages:
        x = stage(x)
        shapes.append(tuple(x.shape[1:]))
    assert tuple(shapes) == encoder.stage_shapes


def test_max_pool_stage_is_convolution_relu_pool():
    torch.manual_seed(0)
    encoder = ConvEncoder((3, 8, 8), (5,))
    x = torch.randn(2, 3, 8, 8)
    weight, bias = encoder.parameters()
    assert torch.equal(encoder(x), F.max_pool2d(F.conv2d(x, weight, bias, padding=1).relu(), 2))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_signals_go_through_convolutions_over_time(channels, memory_format):
    torch.manual_seed(0)
    encoder = ConvEncoder((channels, 17), (5, 4), kernel_size=5).to(memory_format=memory_format)
    x = torch.randn(2, channels, 17)
    y = x
    for weight, bias in (stage.parameters() for stage in encoder.stages):
        y = F.max_pool1d(F.conv1d(y, weight.squeeze(2), bias, padding=2).relu(), 2)
    torch.testing.assert_close(encoder(x), y)


def test_stride_stage_is_strided_convolution_batch_norm_relu():
    torch.manual_seed(0)
    encoder = ConvEncoder((3, 16), (5,), kernel_size=5, downsample="stride", norm="batch")
    x = torch.randn(4, 3, 16)
    y = F.conv1d(x, next(encoder.parameters()).squeeze(2), stride=2, padding=2)
    normed = (y - y.mean((0, 2), keepdim=True)) / (y.var((0, 2), correction=0, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(encoder(x), normed.relu())


def test_conv_stage_is_two_convolutions_with_relu_after_each():
    torch.manual_seed(0)
    encoder = ConvEncoder((3, 8, 8), (5,), downsample="conv")
    x = torch.randn(2, 3, 8, 8)
    w1, b1, w2, b2 = encoder.parameters()
    y = F.conv2d(x, w1, b1, padding=1).relu()
    torch.testing.assert_close(encoder(x), F.conv2d(y, w2, b2, stride=2, padding=1).relu())


@pytest.mark.parametrize(("width", "groups"), [(32, 8), (25, 5), (50, 5), (100, 5), (14, 7), (11, 1)])
def test_group_norm_takes_the_largest_divisor_up_to_8(width, groups):
    torch.manual_seed(0)
    encoder = ConvEncoder((3, 8, 8), (width,), norm="group")
    x = torch.randn(2, 3, 8, 8)
    y = F.conv2d(x, next(encoder.parameters()), padding=1).reshape(2, groups, -1)
    normed = (y - y.mean(2, keepdim=True)) / (y.var(2, correction=0, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(encoder(x), F.max_pool2d(normed.reshape(2, width, 8, 8), 2).relu())


def test_dropout_is_after_dense_stages_only():
    torch.manual_seed(0)
    encoder = ConvEncoder((1, 8, 8), (16,), dense=(1000,), dropout=0.5)
    convolved = encoder.stages[0](torch.randn(1, 1, 8, 8))
    kept, whole = encoder.stages[1](convolved), encoder.eval().stages[1](convolved)
    zeroed = ((kept == 0) & (whole > 0)).sum() / (whole > 0).sum()
    assert 0.4 < zeroed < 0.6
    torch.testing.assert_close(kept[kept > 0], 2 * whole[kept > 0])


def test_lists_have_one_value_per_stage():
    torch.manual_seed(0)
    encoder = ConvEncoder((3, 20), (4, 5, 6), (9, 1, 5), ("stride", "none", "max_pool"), dilation=(1, 3, 2))
    w1, b1, w2, b2, w3, b3 = (p.squeeze(2) if p.ndim == 4 else p for p in encoder.parameters())
    x = torch.randn(2, 3, 20)
    first = F.conv1d(x, w1, b1, stride=2, padding=4).relu()
    second = F.conv1d(first, w2, b2).relu()
    third = F.max_pool1d(F.conv1d(second, w3, b3, padding=4, dilation=2).relu(), 2)
    assert encoder.stage_shapes == ((4, 10), (5, 10), (6, 5))
    torch.testing.assert_close(encoder(x), third)


@pytest.mark.parametrize(("downsample", "in_shape"), [("none", (2, 17)), ("conv", (2, 17)), ("stride", (2, 9, 10))])
def test_residual_units_end_a_stage(downsample, in_shape):
    torch.manual_seed(0)
    arguments = {"kernel_size": 5, "downsample": downsample, "norm": "batch", "dilation": 2}
    encoder = ConvEncoder(in_shape, (4,), residual_units=2, **arguments)
    plain = ConvEncoder(in_shape, (4,), **arguments)
    plain.load_state_dict(encoder.state_dict(), strict=False)
    assert set(plain.state_dict()) < set(encoder.state_dict())
    weights = [p for p in encoder.parameters() if p.ndim == 4][-4:]
    x = torch.randn(6, *in_shape)
    y = plain(x) if len(in_shape) == 3 else plain(x).unsqueeze(2)

    def conv_norm(y, weight):
        padding = [dilated - 1 for dilated in weight.shape[2:]]  # dilation 2 times half of the kernel
        y = F.conv2d(y, weight, padding=padding, dilation=2)
        return (y - y.mean((0, 2, 3), keepdim=True)) / (y.var((0, 2, 3), correction=0, keepdim=True) + 1e-5).sqrt()

    for first, second in (weights[:2], weights[2:]):
        y = (y + conv_norm(conv_norm(y, first).relu(), second)).relu()
    torch.testing.assert_close(encoder(x), y.reshape(6, *encoder.out_shape))


@pytest.mark.parametrize(
    ("arguments", "offsets"),
    [
        ({"widths": (2,), "dilation": 3}, {-3, 0, 3}),
        ({"widths": (2,), "kernel_size": 5, "dilation": 2}, {-4, -2, 0, 2, 4}),
        ({"widths": (2, 2, 2), "dilation": (1, 2, 4)}, set(range(-7, 8))),
        ({"widths": (2, 2), "dilation": (1, 3), "residual_units": (1, 0)}, set(range(-6, 7))),
    ],
)
def test_receptive_field(arguments, offsets):
    encoder = ConvEncoder((1, 31), downsample="none", **arguments)
    for parameter in encoder.parameters():
        torch.nn.init.constant_(parameter, 0.1)  # with positive inputs no ReLU stops a gradient
    x = torch.ones(1, 1, 31, requires_grad=True)
    encoder(x)[0, 0, 15].backward()
    assert {i - 15 for i in x.grad[0, 0].nonzero().flatten().tolist()} == offsets


@pytest.mark.parametrize("in_shape", [(2, 16), (2, 8, 8)])
def test_channel_dropout_zeroes_whole_channels(in_shape):
    torch.manual_seed(0)
    encoder = ConvEncoder(in_shape, (1000,), channel_dropout=0.3)
    x = torch.randn(1, *in_shape)
    kept, whole = encoder(x).flatten(2), encoder.eval()(x).flatten(2)
    lost = (kept == 0).all(2)
    alive = (whole > 0).any(2)
    assert 0.25 < (lost & alive).sum() / alive.sum() < 0.35
    torch.testing.assert_close(kept[~lost], whole[~lost] / 0.7)


@pytest.mark.parametrize(
    ("in_shape", "arguments", "message"),
    [
        ((3,), {}, r"Expected `in_shape` of ConvEncoder to be \(C, T\) or \(C, H, W\), but got \(3,\).*MLPEncoder"),
        ((3, 8, 8, 8), {}, r"but got \(3, 8, 8, 8\)"),
        (
            (3, 8),
            {"widths": ()},
            "Expected `widths` or `dense` of ConvEncoder to have at least one width, but both are empty",
        ),
        ((3, 8), {"widths": (4, 0)}, r"every width in `widths` to be at least 1, but got \[4, 0\]"),
        ((3, 8), {"dense": (-1,)}, r"every width in `dense` to be at least 1, but got \[-1\]"),
        ((3, 8), {"kernel_size": 4}, "Expected `kernel_size` to be odd, so that padding keeps the size, but got 4"),
        (
            (3, 8),
            {"kernel_size": (3, 5, 4)},
            "Expected `kernel_size` to be odd, so that padding keeps the size, but got 4",
        ),
        (
            (3, 8),
            {"kernel_size": [3, 5]},
            r"`kernel_size` to be one value for all stages, or one per stage, 3 as in `widths`, but got 2: \[3, 5\]",
        ),
        ((3, 8), {"downsample": ("none",)}, r"Expected `downsample` to be one value .* but got 1: \['none'\]"),
        ((3, 8), {"dilation": 0}, "Expected `dilation` to be at least 1, but got 0"),
        ((3, 8), {"residual_units": (0, 0, -1)}, "Expected `residual_units` to be at least 0, but got -1"),
        ((3, 8), {"downsample": "pool"}, r"Expected `downsample` to be one of \('max_pool', .*\), but got 'pool'"),
        ((3, 8), {"norm": "layer"}, r"Expected `norm` to be one of \('none', 'batch', 'group'\), but got 'layer'"),
        (
            (3, 7, 64),
            {"widths": (4, 4, 4)},
            r"`in_shape`=\(3, 7, 64\) is down to \(1, 16\) before stage 3. Use at most 2 widths, larger",
        ),
    ],
)
def test_errors(in_shape, arguments, message):
    with pytest.raises(ConfigError, match=message):
        ConvEncoder(in_shape, **arguments)
