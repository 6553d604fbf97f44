import re

import pytest
import torch
from torchvision import models

from fusionlit.encoders import TorchvisionEncoder
from fusionlit.errors import ConfigError

SMALL = "shufflenet_v2_x0_5"


def network(name, **arguments):
    torch.manual_seed(0)
    return models.get_model(name, weights=None, **arguments).eval()


@pytest.fixture(scope="module")
def small_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "small.pt"
    torch.save(network(SMALL).state_dict(), path)
    return path


@pytest.mark.parametrize(
    ("backbone", "classifier", "arguments"),
    [
        ("densenet121", "classifier", {}),
        ("efficientnet_b0", "classifier.1", {}),
        ("googlenet", "fc", {"init_weights": True}),  # whose file has auxiliary classifiers
        ("mnasnet0_5", "classifier.1", {}),  # whose loading wants the format's version
        ("mobilenet_v3_small", "classifier.3", {}),
        ("regnet_x_400mf", "fc", {}),
        ("resnet18", "fc", {}),
        ("squeezenet1_1", "classifier.1", {}),
    ],
)
def test_features_are_what_the_classifier_was_given(backbone, classifier, arguments, tmp_path):
    whole = network(backbone, **arguments)
    torch.save(whole.state_dict(), tmp_path / "weights.pt")
    encoder = TorchvisionEncoder((3, 64, 64), backbone, tmp_path / "weights.pt").eval()
    given = []
    whole.get_submodule(classifier).register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        whole(x)
        features = encoder(x)
    expected = given[0] if given[0].ndim == 2 else given[0].relu().mean((2, 3))  # SqueezeNet: what follows its Conv2d
    torch.testing.assert_close(features, expected)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_other_channels_give_the_same_for_equal_channels(channels, small_file):
    three = TorchvisionEncoder((3, 64, 64), SMALL, small_file).eval()
    other = TorchvisionEncoder((channels, 64, 64), SMALL, str(small_file)).eval()
    x = torch.randn(2, 1, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(
            other(x.expand(-1, channels, -1, -1)), three(x.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-5
        )


def test_weights_of_the_same_channels_are_taken_as_they_are(tmp_path):
    trained = TorchvisionEncoder((5, 64, 64), SMALL)
    torch.save({"state_dict": trained.backbone.state_dict()}, tmp_path / "weights.pt")
    loaded = TorchvisionEncoder((5, 64, 64), SMALL, tmp_path / "weights.pt")
    for name, tensor in trained.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name])


def test_old_names_of_densenet_in_the_published_files(tmp_path):
    state = network("densenet121").state_dict()
    old = {re.sub(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.", name): x for name, x in state.items()}
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    torch.save(old, tmp_path / "weights.pt")
    encoder = TorchvisionEncoder((3, 64, 64), "densenet121", tmp_path / "weights.pt")
    for name, tensor in encoder.backbone.state_dict().items():
        assert torch.equal(tensor, state[name])


def test_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match=r"`weights` cannot be read: .*none\.pt.*download the file first"):
        TorchvisionEncoder((3, 64, 64), SMALL, tmp_path / "none.pt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], r"to hold a state dict \(names to tensors\), but it does not"),
        ({"epoch": 3}, "to hold a state dict"),
        (
            torch.nn.Linear(1, 1),
            r"cannot be loaded as plain tensors. Save it with `torch.save\(network.state_dict\(\), path",
        ),
    ],
)
def test_file_with_something_else(content, message, tmp_path):
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(ConfigError, match=message):
        TorchvisionEncoder((3, 64, 64), SMALL, tmp_path / "weights.pt")


def test_file_that_is_no_torch_file(tmp_path):
    (tmp_path / "weights.pt").write_text("version https://git-lfs.github.com/spec/v1")
    with pytest.raises(ConfigError, match="cannot be loaded as plain tensors"):
        TorchvisionEncoder((3, 64, 64), SMALL, tmp_path / "weights.pt")


def test_file_of_another_network(small_file):
    with pytest.raises(
        ConfigError, match=r"does not fit this `backbone`: missing \d+ \(features.0.weight, .*unexpected \d+"
    ):
        TorchvisionEncoder((3, 64, 64), "squeezenet1_1", small_file)


def test_file_of_another_width(small_file):
    with pytest.raises(ConfigError, match=r"wrong shape of \d+ \(stage2.0.branch1.2.weight \(24, 24, 1, 1\), not"):
        TorchvisionEncoder((3, 64, 64), "shufflenet_v2_x1_0", small_file)


def test_file_with_a_missing_and_an_unexpected_key(tmp_path):
    state = network(SMALL).state_dict()
    state["extra"] = state.pop("conv1.0.weight")
    torch.save(state, tmp_path / "weights.pt")
    with pytest.raises(ConfigError, match=r"missing 1 \(conv1.0.weight\); unexpected 1 \(extra\). Give the state dict"):
        TorchvisionEncoder((3, 64, 64), SMALL, tmp_path / "weights.pt")
