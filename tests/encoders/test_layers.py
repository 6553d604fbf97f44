import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fusionlit.encoders.layers import ConvStage, GlobalPool, Residual, convolution, max_pool, normalization
from fusionlit.errors import ConfigError


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dilation", [1, 2, 3])
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
@pytest.mark.parametrize("sizes", [(12,), (13,), (9, 12)])
def test_convolution_keeps_the_size_or_halves_it_rounded_up(sizes, kernel_size, dilation, stride):
    layer = convolution((2, *sizes), 3, kernel_size, stride, dilation)
    y = ConvStage(layer)(torch.zeros(4, 2, *sizes))
    assert y.shape == (4, 3, *(-(-n // stride) for n in sizes))
    assert layer.weight.shape == (3, 2, kernel_size if len(sizes) == 2 else 1, kernel_size)


@pytest.mark.parametrize(("kernel_size", "stride"), [(2, 2), (3, 1), (3, 2), (5, 1)])
@pytest.mark.parametrize("sizes", [(13,), (9, 12)])
def test_max_pool_is_torchs_along_every_axis(sizes, kernel_size, stride):
    x = torch.randn(4, 2, *sizes)
    pool = F.max_pool1d if len(sizes) == 1 else F.max_pool2d
    expected = pool(x, kernel_size, stride, padding=kernel_size // 2 if kernel_size % 2 else 0)
    assert torch.equal(ConvStage(max_pool((2, *sizes), kernel_size, stride))(x), expected)


def test_residual_is_relu_of_both_ways():
    torch.manual_seed(0)
    path, shortcut, x = nn.Linear(3, 3), nn.Linear(3, 3), torch.randn(5, 3)
    assert torch.equal(Residual(path)(x), (path(x) + x).relu())
    assert torch.equal(Residual(path, shortcut)(x), (path(x) + shortcut(x)).relu())


@pytest.mark.parametrize("positions", [(), (7,), (3, 5)])
def test_global_pool_is_over_all_positions(positions):
    x = torch.randn(4, 2, *positions)
    flat = x.reshape(4, 2, -1)
    torch.testing.assert_close(GlobalPool("mean")(x), flat.sum(2) / flat.shape[2])
    assert torch.equal(GlobalPool("max")(x), flat.sort(2).values[..., -1])
    assert GlobalPool("none")(x) is x
    with pytest.raises(ConfigError, match=r"Expected `pool` to be one of \('none', 'mean', 'max'\), but got 'sum'"):
        GlobalPool("sum")


def test_normalization_is_none_or_one_layer():
    assert normalization("none", 6) == []
    (batch,), (group,) = normalization("batch", 6), normalization("group", 25)
    assert isinstance(batch, nn.BatchNorm2d)
    assert batch.num_features == 6
    assert (group.num_groups, group.num_channels) == (5, 25)
