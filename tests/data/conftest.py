import shutil

import pytest

from fusionlit.data.splits import FractionSplit
from fusionlit.synthetic import render

FRAMES = 20


@pytest.fixture(scope="session")
def rendered(tmp_path_factory):
    """One data set of each layout, rendered once; tests copy what they break."""
    root = tmp_path_factory.mktemp("rendered")
    for task in ("shape", "position"):
        render(root / task, FRAMES, seed=3, task=task)
    return root


@pytest.fixture
def seen_groups():
    """A split by fractions that keeps the groups it was asked to assign."""

    class SeenGroups(FractionSplit):
        def assign(self, groups):
            self.groups = groups
            return super().assign(groups)

    return SeenGroups


@pytest.fixture
def shape_root(rendered, tmp_path):
    return shutil.copytree(rendered / "shape", tmp_path / "shape")


@pytest.fixture
def position_root(rendered, tmp_path):
    return shutil.copytree(rendered / "position", tmp_path / "position")
