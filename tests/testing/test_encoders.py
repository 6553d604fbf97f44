"""The encoders' contract: each law finds an encoder that breaks it, and none of ours does."""

import inspect
from functools import partial

import pytest
import torch
from torch import nn

import fusionlit.encoders
from fusionlit.encoders import (
    ConvEncoder,
    Encoder,
    InceptionEncoder,
    MLPEncoder,
    RecurrentEncoder,
    StagedEncoder,
    TorchvisionEncoder,
)
from fusionlit.testing import BrokenLawError, check_encoder, encoders, laws

OURS = {
    "conv1d": (partial(ConvEncoder, widths=(4, 5), kernel_size=5), (3, 21)),
    "conv2d": (partial(ConvEncoder, widths=(4, 6), dense=(7, 5)), (3, 9, 12)),
    "conv2d, stride, batch norm": (partial(ConvEncoder, widths=(4, 6), downsample="stride", norm="batch"), (3, 9, 12)),
    "conv2d, conv, group norm": (partial(ConvEncoder, widths=(6,), downsample="conv", norm="group"), (3, 9, 12)),
    "conv2d, dropout": (partial(ConvEncoder, widths=(4,), dense=(6,), dropout=0.2), (3, 8, 8)),
    "conv, defaults": (ConvEncoder, (4, 64, 64)),
    "conv1d, lists": (
        partial(
            ConvEncoder, widths=(4, 5, 6), kernel_size=(7, 3, 5), downsample=("conv", "none", "stride"), dense=(3,)
        ),
        (3, 21),
    ),
    "conv1d, residual, dilated": (
        partial(ConvEncoder, widths=(4, 5), downsample="none", norm="group", dilation=(1, 2), residual_units=(1, 2)),
        (3, 21),
    ),
    "conv2d, residual, batch norm": (
        partial(ConvEncoder, widths=(4, 6), norm="batch", residual_units=1, channel_dropout=0.2),
        (3, 9, 12),
    ),
    "inception1d": (
        partial(InceptionEncoder, widths=(6, 9), kernel_sizes=(3, 7), modules=(2, 1), downsample=("max_pool", "none")),
        (3, 21),
    ),
    "inception1d, one channel, no norm": (partial(InceptionEncoder, widths=(8, 8), modules=1, norm="none"), (1, 21)),
    "inception2d, pooled": (partial(InceptionEncoder, widths=(8, 4), modules=1, norm="group", pool="mean"), (3, 6, 5)),
    "recurrent": (partial(RecurrentEncoder, widths=(4, 6, 5)), (3, 21)),
    "recurrent, both directions": (
        partial(RecurrentEncoder, widths=(4, 6), bidirectional=True, downsample="none", pool="last", dropout=0.2),
        (3, 12),
    ),
    "recurrent, lstm": (partial(RecurrentEncoder, widths=(4, 6), cell="lstm", pool="mean"), (3, 12)),
    "mlp": (partial(MLPEncoder, widths=(8, 6)), (2, 5)),
    "mlp, defaults": (MLPEncoder, (7,)),
    "torchvision": (partial(TorchvisionEncoder, backbone="mobilenet_v3_small"), (4, 64, 64)),
}


@pytest.mark.parametrize("name", OURS)
def test_ours_keep_every_law(name):
    check_encoder(*OURS[name])


def test_none_of_ours_is_left_out():
    offered = [getattr(fusionlit.encoders, name) for name in fusionlit.encoders.__all__]
    concrete = {o for o in offered if inspect.isclass(o) and issubclass(o, Encoder) and not inspect.isabstract(o)}
    assert concrete == {getattr(factory, "func", factory) for factory, _ in OURS.values()}


@pytest.mark.parametrize("encoder", [ConvEncoder, InceptionEncoder, MLPEncoder, RecurrentEncoder, TorchvisionEncoder])
def test_defaults_make_an_encoder_of_any_class(encoder):
    in_shape = (4, 64) if encoder is RecurrentEncoder else (4, 64, 64)
    assert encoder(in_shape)(torch.zeros(2, *in_shape)).shape[1:] == encoder(in_shape).out_shape


class Dense(StagedEncoder):
    """What the broken ones are made from; it breaks no law."""

    def __init__(self, in_shape):
        super().__init__()
        self.stages = nn.ModuleList([nn.Linear(in_shape[0], 4), nn.Sequential(nn.Tanh(), nn.Linear(4, 3))])

    @property
    def stage_shapes(self):
        return ((4,), (3,))


def test_the_dense_one_itself_keeps_every_law():
    check_encoder(Dense, (5,))


class Recurrent(Encoder):
    """The commonest encoder of signals, which torch does not compile unless told."""

    def __init__(self, in_shape):
        super().__init__()
        self.gru = nn.GRU(in_shape[0], 4, batch_first=True)

    @property
    def out_shape(self):
        return (4,)

    def forward(self, x):
        return self.gru(x.mT)[0][:, -1]


def test_a_recurrent_one_keeps_every_law():
    check_encoder(Recurrent, (3, 12))


class NoEncoder(nn.Linear):
    def __init__(self, in_shape):
        super().__init__(in_shape[0], 3)


class WrongShape(Dense):
    @property
    def out_shape(self):
        return (4,)


class Squeezes(Dense):
    def forward(self, x):
        return super().forward(x).squeeze()


class PlainList(Dense):
    def __init__(self, in_shape):
        super().__init__(in_shape)
        self.more = [nn.Linear(3, 3)]

    def forward(self, x):
        return self.more[0].to(x.dtype)(super().forward(x))


class Centred(Dense):
    def forward(self, x):
        return super().forward(x - x.mean(0))


class Draws(Dense):
    def forward(self, x):
        return super().forward(x + torch.rand_like(x))


class DrawnScale(Dense):
    def __init__(self, in_shape):
        super().__init__(in_shape)
        self.scale = float(torch.rand(()))

    def forward(self, x):
        return super().forward(self.scale * x)


class Frozen(Dense):
    def forward(self, x):
        return self.stages[1](self.stages[0](x).detach())


class AlwaysFloat(Dense):
    def forward(self, x):
        return super().forward(x).float()


class Logarithm(Dense):
    def forward(self, x):
        return super().forward(x).log()


class ListStages(Dense):
    @property
    def stage_shapes(self):
        return ([4], (3,))


class WrongStages(Dense):
    @property
    def stage_shapes(self):
        return ((5,), (3,))


class Beside(Dense):
    def __init__(self, in_shape):
        super().__init__(in_shape)
        self.scale = nn.Parameter(torch.ones(5))

    def forward(self, x):
        return super().forward(self.scale * x)


class Twice(Dense):
    def forward(self, x):
        return 2 * super().forward(x)


class Branches(Dense):
    def forward(self, x):
        out = super().forward(x)
        return out if out.sum() > 0 else out * 1


class Detached(Encoder):
    """Not staged: its stages would break their laws first."""

    def __init__(self, in_shape):
        super().__init__()
        self.dense = Dense(in_shape)

    @property
    def out_shape(self):
        return (3,)

    def forward(self, x):
        out = self.dense(x)
        return out + out.detach()


BROKEN = {
    NoEncoder: (encoders.it_is_an_encoder, "it raised ConfigError: Expected a"),
    Logarithm: (laws.the_result_is_finite, "values are not finite. Look for a logarithm, root or quotient"),
    ListStages: (encoders.stage_shapes_are_the_stages, "`stage_shapes` are [[4], (3,)], but the stages return"),
    WrongShape: (laws.out_shape_is_the_outputs, "`out_shape` is (4,), but a batch of 6 gave (6, 3)"),
    Squeezes: (laws.a_batch_of_one_stays_one, "one sample gave (3,), not (1, 3)"),
    PlainList: (
        laws.everything_is_registered,
        "`more` of PlainList holds a Linear in a plain list: use nn.Mod",
    ),
    Centred: (laws.samples_do_not_mix, "the first of 6 samples gives a different result alone"),
    Draws: (laws.evaluation_changes_nothing, "a second call gave a different result"),
    DrawnScale: (laws.state_dict_is_whole, "Store random values drawn in __init__ in a parameter or a buffer"),
    Frozen: (
        encoders.every_parameter_gets_a_gradient,
        "source 'x', parameter `stages.0.weight`, parameter `stages.0",
    ),
    AlwaysFloat: (
        encoders.precision_follows_the_input,
        "inputs in float64 and float32 gave torch.float32 and torch.float32",
    ),
    WrongStages: (encoders.stage_shapes_are_the_stages, "`stage_shapes` are [(5,), (3,)], but the stages return"),
    Beside: (encoders.the_stages_are_all, "its forward differs from the stages in sequence"),
    Twice: (encoders.the_stages_are_all, "its forward differs from the stages in sequence"),
    Detached: (laws.gradients_are_right, "look for `.detach()`"),
    Branches: (laws.compiles_to_one_graph, "it raised"),
}


@pytest.mark.parametrize("encoder", BROKEN)
def test_a_broken_law_is_named(encoder):
    law, detail = BROKEN[encoder]
    with pytest.raises(BrokenLawError) as caught:
        check_encoder(encoder, (5,))
    assert caught.value.law is law
    message = str(caught.value)
    assert message.startswith(f"{encoder.__name__} for inputs (5,) breaks a law. {' '.join(law.__doc__.split())} But ")
    assert detail in message


def test_no_law_is_without_a_broken_encoder():
    all_laws = {encoders.it_is_an_encoder, *encoders.LAWS, *encoders.STAGED_LAWS}
    assert {law for law, _ in BROKEN.values()} == {*all_laws, laws.gradients_are_right, laws.compiles_to_one_graph}
