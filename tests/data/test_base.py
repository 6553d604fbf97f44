"""What every data module gets from its base."""

import pytest
import torch

from fusionlit.errors import DataError


def test_training_is_shuffled_and_evaluation_is_not(planted):
    data = planted(size=40)
    order = torch.cat([batch["index"] for batch in data.train_dataloader()])
    assert order.tolist() != list(range(40))
    assert sorted(order.tolist()) == list(range(40))
    for loader, first in ((data.val_dataloader(), 3000), (data.test_dataloader(), 6000)):
        assert torch.cat([batch["index"] for batch in loader]).tolist() == list(range(first, first + 40))


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
    with pytest.raises(
        DataError, match=r"but got {'noise': torch.float64}. Convert them with `.float\(\)` in `convert`"
    ):
        data.on_after_batch_transfer(raw, 0)


@pytest.mark.parametrize("precision", ["64-true", "bf16-true"])
def test_converted_batches_follow_the_trainers_precision(planted, make_trainer, precision):
    data = planted()
    data.trainer = make_trainer(precision=precision)
    batch = data.on_after_batch_transfer(next(iter(data.val_dataloader())), 0)
    expected = {"64-true": torch.float64, "bf16-true": torch.bfloat16}[precision]
    assert batch["inputs"]["strong"].dtype == expected
    assert batch["target"].dtype == torch.int64
