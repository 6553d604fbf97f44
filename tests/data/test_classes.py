import pytest
import torch

from fusionlit.data.classes import FIRST_BATCHES, BatchBalance, check_classes, check_split_balance
from fusionlit.errors import DataError

NAMES = ("cubes", "spheres")


def test_a_split_is_balanced_up_to_the_ratio():
    check_split_balance("val", torch.tensor([10, 20]), NAMES, 2.0)
    with pytest.raises(DataError, match=r"The val split is not balanced: cubes 10, spheres 21.*`max_class_ratio`"):
        check_split_balance("val", torch.tensor([10, 21]), NAMES, 2.0)
    with pytest.raises(DataError, match="a 0, b 5, c 16"):
        check_split_balance("val", torch.tensor([0, 5, 16]), "abc", 3.0)
    check_split_balance("val", torch.tensor([0, 5, 15]), "abc", 3.0)  # what is not there is said by `check_classes`
    check_split_balance("val", torch.tensor([0, 0]), NAMES, 3.0)


def test_a_class_must_be_in_training_and_should_be_elsewhere():
    counts = torch.tensor([2, 0, 1])
    with pytest.raises(
        DataError, match=r"set: the train split \(3 samples\) has no samples of these classes: b\. .*larger fract"
    ):
        check_classes("set", "train", 3, counts, "abc")
    with pytest.warns(
        UserWarning, match=r"set: the test split \(3 samples\) has no samples of these classes: b\. Its metrics"
    ):
        check_classes("set", "test", 3, counts, "abc")
    check_classes("set", "train", 3, torch.tensor([1, 1, 1]), "abc")
    check_classes("set", "train", 0, torch.zeros(3), "abc")


def test_a_large_batch_of_one_class_is_no_chance():
    with pytest.raises(
        DataError, match=r"1 in a row \(32 samples each\) contain only one class \(the last: 'spheres'\)"
    ):
        BatchBalance(torch.tensor([700, 700]), NAMES).check(torch.ones(32, dtype=torch.long))


def test_a_few_small_batches_of_one_class_are_chance_but_twenty_are_not():
    balance = BatchBalance(torch.tensor([5000, 5000]), NAMES)
    pair = torch.zeros(2, dtype=torch.long)
    for _ in range(FIRST_BATCHES - 1):  # (1/2)^19 is above one in a million
        balance.check(pair)
    with pytest.raises(DataError, match="20 in a row"):
        balance.check(pair)


def test_a_mixed_batch_ends_the_run():
    balance = BatchBalance(torch.tensor([500, 500]), NAMES)
    for _ in range(FIRST_BATCHES // 2):
        balance.check(torch.zeros(8, dtype=torch.long))  # 1 in 2^7 each: two in a row are chance, three are not
        balance.check(torch.tensor([0, 1] * 4))


def test_batches_of_one_are_never_accused():
    balance = BatchBalance(torch.tensor([500, 500]), NAMES)
    for _ in range(2 * FIRST_BATCHES):
        balance.check(torch.zeros(1, dtype=torch.long))


def test_only_the_first_batches_are_watched():
    balance = BatchBalance(torch.tensor([500, 500]), NAMES)
    for _ in range(FIRST_BATCHES):
        balance.check(torch.tensor([0, 1] * 16))
    balance.check(torch.zeros(32, dtype=torch.long))


def test_shuffled_batches_pass():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(2).repeat(100)
    for size in (1, 2, 3, 4, 8):
        for _ in range(50):
            balance = BatchBalance(torch.tensor([100, 100]), NAMES)
            for batch in labels[torch.randperm(200, generator=generator)].split(size):
                balance.check(batch)
