import pytest

from fusionlit.data.splits import FractionSplit


@pytest.fixture
def seen_groups():
    """A split by fractions that keeps the groups it was asked to assign."""

    class SeenGroups(FractionSplit):
        def assign(self, groups):
            self.groups = groups
            return super().assign(groups)

    return SeenGroups
