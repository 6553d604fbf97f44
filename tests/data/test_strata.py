"""What the cuts promise, on random data of every size, against counting."""

from itertools import chain

import numpy as np
import pytest

from fusionlit.data.groups import Group
from fusionlit.data.splits import FoldSplit, FractionSplit, OfficialSplit
from fusionlit.data.strata import shares, whole

FRACTIONS = [
    (0.7, 0.15, 0.15),
    (0.6, 0.2, 0.2),
    (0.4, 0.2, 0.4),
    (0.8, 0.2, 0.0),
    (0.34, 0.33, 0.33),
    (0.1, 0.45, 0.45),
]


def random_groups(seed, splits=()):
    """Up to 60 groups of up to 7 classes, rare and frequent ones; a class may be None."""
    rng = np.random.default_rng(seed)
    classes, count = int(rng.integers(1, 8)), int(rng.integers(1, rng.choice([4, 12, 61])))
    labels = rng.choice(classes, count, p=rng.dirichlet(np.full(classes, rng.choice([0.5, 5]))))
    nothing = rng.choice([0, -1])  # class 0 is one of mixed groups
    return {f"g{k}": Group(splits, None if label == nothing else int(label)) for k, label in enumerate(labels)}


def table(groups, assigned):
    """Groups of each stratum in each split, `(strata, splits)`."""
    strata = list(dict.fromkeys(group.stratum for group in groups.values()))
    return np.array([[sum(groups[g].stratum == s for g in names) for names in assigned.values()] for s in strata])


def check_cover(found):
    """Each class in every split, or in as many as it has groups, training first, where the splits have the room."""
    used = found[:, found.sum(0) > 0]
    if used.sum(0).min() < len(used):
        return False
    np.testing.assert_array_equal((used > 0).sum(1), np.minimum(used.sum(1), used.shape[1]))
    assert (used[:, 0] > 0).all()
    return True


@pytest.mark.parametrize("fractions", FRACTIONS)
def test_fractions_keep_their_totals_and_bring_each_class_into_each_split(fractions):
    covered = 0
    for seed in range(500):
        groups = random_groups(seed)
        assigned = FractionSplit(*fractions, seed=seed).assign(groups)
        assert sorted(chain(*assigned.values())) == sorted(groups)
        found = table(groups, assigned)
        totals = found.sum(0)
        assert totals.tolist() == whole(len(groups), fractions)
        if len(groups) >= 3:
            np.testing.assert_array_equal(totals > 0, np.array(fractions) > 0)
        covered += check_cover(found)
        wanted = found.sum(1, keepdims=True) * np.array(fractions)
        if wanted[:, np.array(fractions) > 0].min() >= 1:
            assert np.abs(found - wanted).max() < 1.5
    assert covered > 100


@pytest.mark.parametrize("fractions", FRACTIONS)
def test_totals_are_the_rounded_borders_unless_a_split_would_be_empty(fractions):
    for count in range(1, 200):
        totals = whole(count, fractions)
        first, second = round(fractions[0] * count), round(sum(fractions[:2]) * count)
        plain = [first, second - first, count - second]
        assert sum(totals) == count
        empty = sum(not n and f > 0 for n, f in zip(plain, fractions, strict=True))
        assert sum(abs(a - b) for a, b in zip(totals, plain, strict=True)) <= 2 * empty


def test_tiny_sets_fill_every_split_that_they_can():
    assert [whole(n, (0.7, 0.15, 0.15)) for n in range(1, 6)] == [[1, 0, 0], [1, 1, 0], [1, 1, 1], [2, 1, 1], [3, 1, 1]]
    assert whole(3, (1.0, 0.0, 0.0)) == [3, 0, 0]
    assert whole(2, (0.9, 0.0, 0.1)) == [1, 0, 1]


def test_a_class_of_four_in_forty_is_in_all_three_splits():
    groups = {f"{k}": Group(stratum=int(k < 4)) for k in range(40)}
    for seed in range(50):
        found = table(groups, FractionSplit(seed=seed).assign(groups))
        assert found.tolist() == [[2, 1, 1], [26, 5, 5]]


def test_equal_classes_are_cut_equally():
    groups = {f"{k}": Group(stratum=k % 5) for k in range(100)}
    assert table(groups, FractionSplit(0.7, 0.15, 0.15).assign(groups)).tolist() == [[14, 3, 3]] * 5


def test_where_a_split_has_no_room_for_all_classes_it_has_no_class_twice():
    found = np.array(shares([4] * 10, (0.7, 0.15, 0.15), (28, 6, 6)))
    assert found.sum(0).tolist() == [28, 6, 6]
    assert found[:, 1:].max() == 1
    assert found[:, 0].min() >= 2


def test_which_classes_get_the_rest_depends_on_the_seed():
    groups = {f"{k}": Group(stratum=k) for k in range(20)}
    trained = {tuple(sorted(FractionSplit(seed=seed).assign(groups)["train"])) for seed in range(5)}
    assert len(trained) == 5


def test_folds_differ_by_one_group_in_total_and_in_each_class():
    for seed in range(300):
        groups, folds = random_groups(seed), 3 + seed % 5
        if len(groups) < folds:
            continue
        splits = [FoldSplit(folds, k, seed).assign(groups) for k in range(folds)]
        tests = table(groups, {k: assigned["test"] for k, assigned in enumerate(splits)})
        assert sorted(chain(*(assigned["test"] for assigned in splits))) == sorted(groups)
        assert np.ptp(tests, axis=1).max() <= 1
        assert np.ptp(tests.sum(0)) <= 1
        trained = np.array([table(groups, assigned)[:, 0] for assigned in splits])
        assert (trained[:, tests.sum(1) >= 3] > 0).all()


@pytest.mark.parametrize("val", [0.1, 0.2, 0.5, 0.8])
def test_the_official_splits_validation_is_cut_by_class_too(val):
    covered = 0
    for seed in range(500):
        groups = random_groups(seed, ("train",))
        count = max(1, round(val * len(groups)))
        if count >= len(groups):
            continue
        assigned = OfficialSplit(val, seed).assign(groups | {"held": Group(("test",), 0)})
        assert assigned.pop("test") == ["held"]
        found = table(groups, assigned)
        assert found.sum(0).tolist() == [len(groups) - count, count]
        covered += check_cover(found)
    assert covered > 100


@pytest.mark.parametrize(
    ("split", "most"), [(FractionSplit, 6), (lambda seed: FoldSplit(5, 0, seed), 16), (OfficialSplit, 3)]
)
def test_a_missing_group_moves_others_at_the_borders_alone(split, most):
    for seed in range(100):
        groups = {f"{k}": Group(("train",), k % 4) for k in range(400)} | {"held": Group(("test",), 0)}
        less = {name: group for name, group in groups.items() if name != f"{3 * seed}"}
        if split is not OfficialSplit:
            del groups["held"], less["held"]
        before, after = (
            {name: s for s, names in split(seed=seed).assign(given).items() for name in names}
            for given in (groups, less)
        )
        assert sum(before[name] != after[name] for name in less) <= most


def test_one_stratum_is_cut_as_groups_without_any():
    names = [f"{k}" for k in range(57)]
    for split in (FractionSplit(seed=3), FoldSplit(seed=3)):
        assert split.assign(dict.fromkeys(names, Group())) == split.assign(dict.fromkeys(names, Group(stratum=2)))
