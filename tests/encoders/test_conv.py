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
    x, behind = torch.zeros(1, 2, *sizes), []
    for stage in encoder.stages:
        x = stage(x)
        behind.append(tuple(x.shape[1:]))
    assert tuple(behind) == encoder.stage_shapes


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


def test_conv_stage_is_two_convolutions_with_relu_behind_each():
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


def test_dropout_is_behind_dense_stages_only():
    torch.manual_seed(0)
    encoder = ConvEncoder((1, 8, 8), (16,), dense=(1000,), dropout=0.5)
    convolved = encoder.stages[0](torch.randn(1, 1, 8, 8))
    kept, whole = encoder.stages[1](convolved), encoder.eval().stages[1](convolved)
    zeroed = ((kept == 0) & (whole > 0)).sum() / (whole > 0).sum()
    assert 0.4 < zeroed < 0.6
    torch.testing.assert_close(kept[kept > 0], 2 * whole[kept > 0])


@pytest.mark.parametrize(
    ("in_shape", "arguments", "message"),
    [
        ((3,), {}, r"Expected `in_shape` of ConvEncoder to be \(C, T\) or \(C, H, W\), but got \(3,\).*MLPEncoder"),
        ((3, 8, 8, 8), {}, r"but got \(3, 8, 8, 8\)"),
        ((3, 8), {"widths": ()}, "Expected `widths` or `dense` of ConvEncoder to hold a width, but both are empty"),
        ((3, 8), {"widths": (4, 0)}, r"every width in `widths` to be at least 1, but got \[4, 0\]"),
        ((3, 8), {"dense": (-1,)}, r"every width in `dense` to be at least 1, but got \[-1\]"),
        ((3, 8), {"kernel_size": 4}, "Expected `kernel_size` to be odd, so that padding keeps the size, but got 4"),
        ((3, 8), {"downsample": "pool"}, r"Expected `downsample` to be one of \('max_pool', .*\), but got 'pool'"),
        ((3, 8), {"norm": "layer"}, r"Expected `norm` to be one of \('none', 'batch', 'group'\), but got 'layer'"),
        (
            (3, 7, 64),
            {"widths": (4, 4, 4)},
            r"`in_shape`=\(3, 7, 64\) has come down to \(1, 16\) before stage 3. Give at most 2 widths",
        ),
    ],
)
def test_errors(in_shape, arguments, message):
    with pytest.raises(ConfigError, match=message):
        ConvEncoder(in_shape, **arguments)
