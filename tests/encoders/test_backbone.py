import pytest
import torch
from torchvision import models

from fusionlit.encoders import TorchvisionEncoder
from fusionlit.errors import ConfigError


@pytest.mark.parametrize(
    ("backbone", "size", "features"),
    [
        ("alexnet", 64, 4096),
        ("convnext_tiny", 64, 768),
        ("densenet121", 64, 1024),
        ("efficientnet_b0", 64, 1280),
        ("googlenet", 64, 1024),
        ("inception_v3", 96, 2048),
        ("maxvit_t", 224, 512),
        ("mobilenet_v3_small", 64, 1024),
        ("resnet18", 64, 512),
        ("squeezenet1_1", 64, 512),
        ("swin_t", 64, 768),
        ("vgg11", 64, 4096),
        ("vit_b_32", 64, 768),
    ],
)
def test_any_network_with_five_channels(backbone, size, features):
    with torch.device("meta"):  # nothing is allocated, nothing computed
        encoder = TorchvisionEncoder((5, size, size), backbone)
        output = encoder(torch.empty(2, 5, size, size))
    assert encoder.out_shape == (features,)
    assert output.shape == (2, features)


def test_channels_change_the_first_convolution_only():
    three, five = TorchvisionEncoder((3, 64, 64)), TorchvisionEncoder((5, 64, 64))
    whole = sum(p.numel() for p in models.resnet18().parameters())
    assert sum(p.numel() for p in three.parameters()) == whole - (512 * 1000 + 1000)
    assert sum(p.numel() for p in five.parameters()) == whole - (512 * 1000 + 1000) + 2 * 64 * 7 * 7
    assert five.backbone.conv1.in_channels == 5
    assert five.backbone.conv1.stride == three.backbone.conv1.stride


def test_stays_in_training_mode():
    encoder = TorchvisionEncoder((3, 64, 64), "shufflenet_v2_x0_5")
    assert all(module.training for module in encoder.modules())


@pytest.mark.parametrize(
    ("in_shape", "backbone", "message"),
    [
        ((3, 64), "resnet18", r"Expected `in_shape` of TorchvisionEncoder to be \(C, H, W\), but got \(3, 64\)"),
        ((3, 64, 64), "resnet17", "Expected `backbone` to be a classification network .* resnet18.*but got 'resnet17'"),
        ((3, 64, 64), "fcn_resnet50", "but got 'fcn_resnet50'"),  # a segmentation network
        (
            (3, 32, 32),
            "inception_v3",
            r"`backbone`='inception_v3' cannot take inputs of shape \(3, 32, 32\). Resize .* 224 x 224, .*Kernel size",
        ),
        ((3, 60, 60), "vit_b_32", "`backbone`='vit_b_32' cannot take .*indivisible by patch size"),
        ((3, 64, 96), "vit_b_32", "`backbone`='vit_b_32' cannot take .*Wrong image width"),
        ((3, 64, 64), "maxvit_t", "`backbone`='maxvit_t' cannot take .*not divisible by partition size"),
    ],
)
def test_errors(in_shape, backbone, message):
    with torch.device("meta"), pytest.raises(ConfigError, match=message):
        TorchvisionEncoder(in_shape, backbone)
