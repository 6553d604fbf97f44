import ast
import os
from datetime import timedelta

import pytest
import torch

from fusionlit.analysis import Contribution
from fusionlit.functional import attributions, contributions
from tests.processes import run_two

SOURCES = {"stage1": ["rgb", "lidar"], "stage2": ["central", "rgb", "lidar"]}


def numbers(layers):
    return {layer: {source: x.item() for source, x in sources.items()} for layer, sources in layers.items()}


def energies(size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        layer: {source: torch.rand(size, generator=generator) * (i + 1) for i, source in enumerate(sources)}
        for layer, sources in SOURCES.items()
    }


def part(energy, start, stop):
    return {layer: {source: x[start:stop] for source, x in sources.items()} for layer, sources in energy.items()}


def test_contributions_are_shares_of_the_root_mean_squares():
    shares = contributions({"a": torch.tensor(16.0), "b": torch.tensor(1.0), "c": torch.tensor(0.0)})
    assert {k: v.item() for k, v in shares.items()} == pytest.approx({"a": 0.8, "b": 0.2, "c": 0.0})


def test_without_energy_there_is_no_share():
    shares = contributions({"a": torch.tensor(0.0), "b": torch.tensor(0.0)})
    assert [x.item() for x in shares.values()] == [0, 0]


def test_attributions_hand_down_what_central_carries():
    shares = {
        "inputs": {"a": 0.9, "b": 0.1},
        "stage1": {"central": 0.5, "a": 0.3, "b": 0.2},
        "stage2": {"central": 0.2, "a": 0.0, "b": 0.8},
    }
    worth = numbers(attributions({i: {k: torch.tensor(c) for k, c in x.items()} for i, x in shares.items()}))
    assert worth["inputs"] == pytest.approx({"a": 0.9, "b": 0.1})
    assert worth["stage1"] == pytest.approx({"a": 0.3 + 0.5 * 0.9, "b": 0.2 + 0.5 * 0.1})
    assert worth["stage2"] == pytest.approx({"a": 0.2 * 0.75, "b": 0.8 + 0.2 * 0.25})


def test_a_layer_without_central_starts_afresh_and_a_source_may_enter_late():
    shares = {
        "one": {"a": 1.0},
        "two": {"b": 0.6, "c": 0.4},
        "three": {"central": 0.5, "a": 0.5},
    }
    worth = numbers(attributions({i: {k: torch.tensor(c) for k, c in x.items()} for i, x in shares.items()}))
    assert worth["two"] == pytest.approx({"b": 0.6, "c": 0.4})
    assert worth["three"] == pytest.approx({"a": 0.5, "b": 0.3, "c": 0.2})


def test_batches_give_what_the_entire_data_set_gives():
    energy = energies(10)
    metric = Contribution(SOURCES)
    for start in range(0, 10, 4):  # 4, 4 and 2: a mean of the batches' means would be wrong
        metric.update(part(energy, start, start + 4))
    shares = metric.compute()

    for layer, sources in energy.items():
        rms = {source: x.double().mean().sqrt() for source, x in sources.items()}
        expected = {source: (x / sum(rms.values())).item() for source, x in rms.items()}
        assert numbers(shares.contributions)[layer] == pytest.approx(expected, abs=1e-6)
    assert all(sum(x.values()) == pytest.approx(1) for x in numbers(shares.attributions).values())
    metric.reset()
    metric.update(part(energy, 0, 1))
    assert metric.compute().contributions["stage1"]["rgb"] != shares.contributions["stage1"]["rgb"]


def test_half_precision_energies_are_added_in_float32():
    metric = Contribution({"fusion": ["a", "b"]})
    for _ in range(3000):  # a float16 sum of ones stops at 2048
        metric.update({"fusion": {"a": torch.ones(1).half(), "b": torch.ones(1).half() * 4}})
    assert metric.square.tolist() == [3000, 12000]


def test_layers_that_tell_no_energy_are_left_out():
    metric = Contribution(SOURCES)
    metric.update({"stage1": energies(3)["stage1"]})
    assert list(metric.compute().contributions) == ["stage1"]


def share_of_two(rank, store):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=2, timeout=timedelta(seconds=100)
    )
    metric = Contribution({"fusion": ["a", "b"]})
    a, b = [([9.0, 1.0], [4.0, 0.0]), ([6.0], [0.0])][rank]  # means 16 / 3 and 4 / 3, of unequal parts
    metric.update({"fusion": {"a": torch.tensor(a), "b": torch.tensor(b)}})
    shares = numbers(metric.compute().contributions)["fusion"]
    torch.distributed.destroy_process_group()
    return shares


def print_share_of_rank(store):
    print(share_of_two(int(os.environ["LOCAL_RANK"]), store))


def test_two_processes_agree_on_the_shares_of_all_samples(tmp_path):
    said = run_two(print_share_of_rank, str(tmp_path / "store"))
    for each in said:
        assert ast.literal_eval(each) == pytest.approx({"a": 2 / 3, "b": 1 / 3})
    assert said[0] == said[1]
