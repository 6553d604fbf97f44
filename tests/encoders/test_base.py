"""The contract of every encoder and head, and a check that none is missing from the list."""

import inspect
from functools import partial

import pytest
import torch

import fusionlit.encoders
from fusionlit.encoders import ConvEncoder, Encoder, Head, MLPEncoder, MLPHead, TorchvisionEncoder

CASES = {
    "conv1d": (ConvEncoder, (3, 21), {"widths": (4, 5), "kernel_size": 5}),
    "conv2d": (ConvEncoder, (3, 9, 12), {"widths": (4, 6), "dense": (7, 5)}),
    "conv2d-stride-batch": (ConvEncoder, (3, 9, 12), {"widths": (4, 6), "downsample": "stride", "norm": "batch"}),
    "conv2d-conv-group": (ConvEncoder, (3, 9, 12), {"widths": (6,), "downsample": "conv", "norm": "group"}),
    "conv2d-dropout": (ConvEncoder, (3, 8, 8), {"widths": (4,), "dense": (6,), "dropout": 0.2}),
    "mlp": (MLPEncoder, (2, 5), {"widths": (8, 6)}),
    "torchvision": (TorchvisionEncoder, (4, 64, 64), {"backbone": "shufflenet_v2_x0_5"}),
    "linear-head": (partial(MLPHead, out_size=3), (4, 2, 2), {}),
    "head": (partial(MLPHead, out_size=3), (4, 2, 2), {"hidden": (6, 5), "dropout": 0.1}),
}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


@pytest.fixture
def module(case):
    torch.manual_seed(0)
    factory, in_shape, arguments = case
    return factory(in_shape, **arguments)


@pytest.fixture
def x(case):
    return torch.randn(3, *case[1], generator=torch.Generator().manual_seed(1))


def test_every_encoder_and_head_is_in_the_list():
    offered = [getattr(fusionlit.encoders, name) for name in fusionlit.encoders.__all__]
    concrete = {
        o for o in offered if inspect.isclass(o) and issubclass(o, (Encoder, Head)) and not inspect.isabstract(o)
    }
    assert concrete == {getattr(factory, "func", factory) for factory, _, _ in CASES.values()}


def test_defaults_make_an_encoder_of_any_factory():
    for encoder in (ConvEncoder, MLPEncoder, TorchvisionEncoder):
        assert encoder((4, 64, 64))(torch.zeros(2, 4, 64, 64)).shape[1:] == encoder((4, 64, 64)).out_shape


def test_out_shape_is_that_of_the_output(module, x):
    expected = (3,) if isinstance(module, Head) else module.out_shape
    assert module(x).shape == (3, *expected)


@pytest.mark.parametrize(
    "name", [name for name, (factory, _, _) in CASES.items() if factory in (ConvEncoder, MLPEncoder)]
)
def test_stage_shapes_are_those_of_the_stages(name):
    factory, in_shape, arguments = CASES[name]
    encoder = factory(in_shape, **arguments).eval()
    x = y = torch.randn(3, *in_shape)
    shapes = []
    for stage in encoder.stages:
        y = stage(y)
        shapes.append(tuple(y.shape[1:]))
    assert tuple(shapes) == encoder.stage_shapes
    assert torch.equal(y, encoder(x))
    assert {id(p) for p in encoder.parameters()} == {id(p) for p in encoder.stages.parameters()}


def test_every_parameter_gets_a_gradient(module, x):
    module(x).square().sum().backward()
    without = [name for name, p in module.named_parameters() if p.grad is None or not p.grad.any()]
    assert not without
    assert all(p.grad.isfinite().all() for p in module.parameters())


def test_batch_of_one_is_the_row_of_the_batch(module, x):
    module.eval()
    torch.testing.assert_close(module(x[1:2]), module(x)[1:2], rtol=1e-4, atol=1e-5)


def test_state_dict_round_trip(module, case, x, tmp_path):
    module(x)  # moves the running statistics
    torch.save(module.state_dict(), tmp_path / "state.pt")
    other = case[0](case[1], **case[2])
    assert not torch.equal(other.eval()(x), module.eval()(x))
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert torch.equal(other(x), module(x))


def test_float64(module, x):
    module.eval()
    y = module.double()(x.double())
    assert y.dtype == torch.float64
    torch.testing.assert_close(module.float()(x), y.float(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["conv1d", "conv2d", "conv2d-stride-batch", "conv2d-conv-group", "mlp", "head"])
def test_gradcheck(name):
    torch.manual_seed(0)
    factory, in_shape, arguments = CASES[name]
    module = factory(in_shape, **arguments).double().eval()
    x = torch.randn(2, *in_shape, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(module, (x,))
