"""What every data module gets from its base."""

import pytest
import torch

from fusionlit.data.loaders import collate
from fusionlit.errors import DataError


def test_input_statistics_are_those_of_the_training_split(planted):
    data = planted(size=50, batch_size=16)
    statistics = data.input_statistics()
    for name, x in data.dataset("train").inputs.items():
        torch.testing.assert_close(statistics[name].mean, x.mean((0, 2)))
        torch.testing.assert_close(statistics[name].std, x.std((0, 2), correction=0))


def test_input_statistics_pass_over_absent_samples(planted):
    data = planted(size=50, presence=True)
    there = torch.arange(50) % 3 != 0
    x = data.dataset("train").inputs["noise"][there]
    statistics = data.input_statistics()["noise"]
    torch.testing.assert_close(statistics.mean, x.mean((0, 2)))
    torch.testing.assert_close(statistics.std, x.std((0, 2), correction=0))


def test_what_presence_does_not_name_is_always_there(planted):
    class OnlyNoise(planted):
        def convert(self, batch):
            batch = super().convert(batch)
            return {**batch, "presence": {"noise": batch["presence"]["noise"]}}

    both, one = planted(presence=True).input_statistics(), OnlyNoise(presence=True).input_statistics()
    torch.testing.assert_close(one, both)


def test_a_modality_that_is_never_there_is_refused(planted):
    data = planted(size=1, presence=True)
    with pytest.raises(DataError, match=r"some training sample, but \['noise'\] is in none"):
        data.input_statistics()


def test_an_absent_sample_may_be_anything_and_one_that_is_there_must_be_finite(planted):
    class OneLost(planted):
        def convert(self, batch):
            batch = super().convert(batch)
            batch["inputs"]["strong"][batch["index"] == 21, 1, 2] = torch.inf
            return batch

    assert all(torch.isfinite(planted(presence=True).input_statistics()["noise"].mean))
    with pytest.raises(DataError, match=r"'strong' of every training sample to be finite, but that of sample \[21\]"):
        OneLost(presence=True).input_statistics()


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"inputs": {"a": torch.zeros(3, 4)}, "target": 1}, r"'sample.inputs.a' of one shape, but one has \(3, 5\)"),
        ({"inputs": {}, "target": 1}, "'sample.inputs.a' of one shape, .* and another none"),
        ({"inputs": {"a": torch.zeros(3, 5)}, "target": 1, "presence": {"a": False}}, "'sample.presence.a'"),
    ],
)
def test_samples_that_do_not_go_together(other, message):
    first = {"inputs": {"a": torch.zeros(3, 5)}, "target": 0}
    assert collate([first, first])["inputs"]["a"].shape == (2, 3, 5)
    with pytest.raises(DataError, match=message):
        collate([first, other])


def test_training_is_shuffled_and_evaluation_is_not(planted):
    data = planted(size=40)
    order = torch.cat([batch["index"] for batch in data.train_dataloader()])
    assert order.tolist() != list(range(40))
    assert sorted(order.tolist()) == list(range(40))
    for loader in (data.val_dataloader(), data.test_dataloader()):
        assert torch.cat([batch["index"] for batch in loader]).tolist() == list(range(40))


def test_tokens_travel_as_whole_numbers_and_doubles_are_refused(planted, make_trainer):
    class Tokens(planted):
        def convert(self, batch):
            batch = super().convert(batch)
            return {**batch, "inputs": {**batch["inputs"], "noise": batch["inputs"]["noise"].to(self.dtype)}}

    data = Tokens()
    data.trainer = make_trainer()
    data.dtype = torch.int64
    raw = next(iter(data.val_dataloader()))
    assert data.on_after_batch_transfer(raw, 0)["inputs"]["noise"].dtype == torch.int64
    data.dtype = torch.float64
    with pytest.raises(DataError, match=r"but got {'noise': torch.float64}. Make them `.float\(\)` in `convert`"):
        data.on_after_batch_transfer(raw, 0)


@pytest.mark.parametrize("precision", ["64-true", "bf16-true"])
def test_converted_batches_follow_the_trainers_precision(planted, make_trainer, precision):
    data = planted()
    data.trainer = make_trainer(precision=precision)
    batch = data.on_after_batch_transfer(next(iter(data.val_dataloader())), 0)
    expected = {"64-true": torch.float64, "bf16-true": torch.bfloat16}[precision]
    assert batch["inputs"]["strong"].dtype == expected
    assert batch["target"].dtype == torch.int64
