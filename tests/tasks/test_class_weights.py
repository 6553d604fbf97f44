import pytest
import torch

from fusionlit.errors import ConfigError
from fusionlit.tasks.class_weights import ClassWeights

LIKE = torch.zeros(1, dtype=torch.float64)


def test_no_weights_are_equal_and_not_saved():
    weights = ClassWeights(None, 3)
    weights.set_counts(torch.tensor([1, 0, 0]))
    assert torch.equal(weights(LIKE), torch.ones(3, dtype=torch.float64))
    assert not weights.state_dict()


def test_given_weights_are_saved_and_stay():
    weights = ClassWeights([1, 2.5], 2)
    weights.set_counts(torch.tensor([7, 3]))
    assert torch.equal(weights(LIKE), torch.tensor([1, 2.5], dtype=torch.float64))
    assert torch.equal(weights.state_dict()["values"], torch.tensor([1, 2.5]))


def test_balanced_weights_give_every_class_the_same_sum():
    weights = ClassWeights("balanced", 3)
    counts = torch.tensor([6, 3, 1])
    weights.set_counts(counts)
    torch.testing.assert_close(weights(LIKE) * counts, torch.full((3,), 10 / 3, dtype=torch.float64))


def test_balanced_weights_before_they_are_known():
    weights = ClassWeights("balanced", 3)
    with pytest.raises(ConfigError, match=r"`class_weights`='balanced' is not known yet: .*load a checkpoint, or give"):
        weights(LIKE)
    weights.set_counts(torch.tensor([6, 3, 1]))
    assert weights(LIKE).isfinite().all()


def test_checkpoint_resolves_balanced_weights(tmp_path):
    trained = ClassWeights("balanced", 3)
    trained.set_counts(torch.tensor([6, 3, 1]))
    torch.save(trained.state_dict(), tmp_path / "state.pt")
    loaded = ClassWeights("balanced", 3)
    loaded.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert torch.equal(loaded(LIKE), trained(LIKE))


def test_checkpoint_from_before_they_were_known_does_not():
    loaded = ClassWeights("balanced", 3)
    loaded.load_state_dict(ClassWeights("balanced", 3).state_dict())
    with pytest.raises(ConfigError, match="is not known yet"):
        loaded(LIKE)


def test_class_without_a_training_sample():
    weights = ClassWeights("balanced", 3, ("cube", "sphere", "cone"))
    with pytest.raises(ConfigError, match=r"has no sample of sphere, cone\. Change the split"):
        weights.set_counts(torch.tensor([6, 0, 0]))


def test_counts_of_another_number_of_classes():
    with pytest.raises(ConfigError, match=r"Expected class counts of shape \(3,\), one per class, but got \(2,\)"):
        ClassWeights("balanced", 3).set_counts(torch.tensor([6, 1]))


@pytest.mark.parametrize(
    ("weighting", "message"),
    [
        ("balance", "list or null, but got 'balance'"),
        ([1.0], r"2 numbers >= 0, one per class and not all zero, but got \[1.0\]"),
        ([1.0, -1.0], r"but got \[1.0, -1.0\]"),
        ([1.0, float("nan")], r"but got \[1.0, nan\]"),
        ([0.0, 0.0], r"but got \[0.0, 0.0\]"),
    ],
)
def test_errors(weighting, message):
    with pytest.raises(ConfigError, match=f"Expected `class_weights` to be .*{message}"):
        ClassWeights(weighting, 2)
