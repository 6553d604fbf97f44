"""From samples to batches."""

import pytest
import torch
from torch.utils.data import RandomSampler

from fusionlit.data.loaders import Shuffled, collate
from fusionlit.errors import DataError


def test_the_order_is_that_of_torch_and_leaves_the_same_state():
    orders = []
    for sampler in (RandomSampler(range(10_000)), Shuffled(range(10_000))):
        torch.manual_seed(7)
        orders.append([list(sampler), list(sampler), torch.rand(()).item()])
    assert orders[0] == orders[1]
    assert orders[0][0] != orders[0][1]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            {"inputs": {"a": torch.zeros(3, 4)}, "target": 1},
            r"'sample.inputs.a' to have the same shape in all samples of a batch, but one has \(3, 5\)",
        ),
        ({"inputs": {}, "target": 1}, "'sample.inputs.a' to have the same shape .* and another none"),
        ({"inputs": {"a": torch.zeros(3, 5)}, "target": 1, "presence": {"a": False}}, "'sample.presence.a'"),
    ],
)
def test_samples_that_do_not_go_together(other, message):
    first = {"inputs": {"a": torch.zeros(3, 5)}, "target": 0}
    assert collate([first, first])["inputs"]["a"].shape == (2, 3, 5)
    with pytest.raises(DataError, match=message):
        collate([first, other])
