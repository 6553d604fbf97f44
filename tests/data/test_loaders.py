import torch
from torch.utils.data import RandomSampler

from fusionlit.data.loaders import Shuffled


def test_the_order_is_that_of_torch_and_leaves_the_same_state():
    orders = []
    for sampler in (RandomSampler(range(10_000)), Shuffled(range(10_000))):
        torch.manual_seed(7)
        orders.append([list(sampler), list(sampler), torch.rand(()).item()])
    assert orders[0] == orders[1]
    assert orders[0][0] != orders[0][1]
