"""The heads' contract: each law finds a head that breaks it, and none of ours does."""

import inspect
from functools import partial

import pytest
import torch
from torch import nn

import fusionlit.encoders
from fusionlit.encoders import Head, MLPHead
from fusionlit.testing import BrokenLawError, check_head, heads, laws

OURS = {
    "linear": (MLPHead, (5,)),
    "linear on a map": (MLPHead, (3, 4, 5)),
    "hidden": (partial(MLPHead, hidden=(6, 4), dropout=0.3), (3, 7)),
    "pooled": (partial(MLPHead, hidden=(4,), pool="mean"), (3, 4, 5)),
}


@pytest.mark.parametrize("name", OURS)
def test_ours_keep_every_law(name):
    check_head(*OURS[name])


def test_none_of_ours_is_left_out():
    offered = [getattr(fusionlit.encoders, name) for name in fusionlit.encoders.__all__]
    concrete = {o for o in offered if inspect.isclass(o) and issubclass(o, Head) and not inspect.isabstract(o)}
    assert concrete == {getattr(factory, "func", factory) for factory, _ in OURS.values()}


class Linear(Head):
    """What the broken ones are made from; it breaks no law."""

    def __init__(self, in_shape, out_size):
        super().__init__()
        self.linear = nn.Linear(torch.Size(in_shape).numel(), out_size)

    def forward(self, features):
        return self.linear(features.reshape(len(features), -1))


def test_the_linear_one_itself_keeps_every_law():
    check_head(Linear, (3, 4))


class NoHead(nn.Linear):
    def __init__(self, in_shape, out_size):
        super().__init__(12, out_size)


class Squeezes(Linear):
    def forward(self, features):
        return super().forward(features).squeeze(1)


class SqueezesTheBatch(Linear):
    def forward(self, features):
        out = super().forward(features)
        return out[0] if len(out) == 1 else out


class Views(Linear):
    def forward(self, features):
        return self.linear(features.view(len(features), -1))


class Positive(Linear):
    def forward(self, features):
        return super().forward(features).relu()


class Bounded(Linear):
    def forward(self, features):
        return super().forward(features).tanh()


class Frozen(Linear):
    def forward(self, features):
        return super().forward(features.detach())


BROKEN = [
    (NoHead, heads.it_is_a_head),
    (Squeezes, heads.it_gives_out_size_numbers),
    (Views, heads.it_takes_any_strides),
    (SqueezesTheBatch, laws.a_batch_of_one_stays_one),
    (Positive, heads.no_output_is_bounded),
    (Bounded, heads.no_output_is_bounded),
    (Frozen, heads.every_parameter_gets_a_gradient),
]


@pytest.mark.parametrize(("factory", "law"), BROKEN)
def test_each_law_finds_a_head_that_breaks_it(factory, law):
    with pytest.raises(BrokenLawError) as error:
        check_head(factory, (3, 4))
    assert error.value.law is law
