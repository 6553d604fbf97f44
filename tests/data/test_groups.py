from fusionlit.data.groups import Group, find_groups


def test_groups_come_in_order_of_appearance_each_with_its_own_splits():
    found = find_groups(["b", "a", "b", "c"], official=["test", "train", "train", "val"])
    assert found == {"b": Group(("test", "train")), "a": Group(("train",)), "c": Group(("val",))}
    assert list(found) == ["b", "a", "c"]


def test_the_stratum_is_the_class_of_more_than_half_of_the_samples():
    names = ["one", "most", "most", "most", "half", "half", "mixed", "mixed", "mixed"]
    found = find_groups(names, [3, 2, 0, 2, 0, 1, 0, 1, 2])
    assert found == {"one": Group((), 3), "most": Group((), 2), "half": Group(), "mixed": Group()}


def test_without_classes_no_group_has_a_stratum():
    assert find_groups(["a", "a", "b"]) == {"a": Group(), "b": Group()}
