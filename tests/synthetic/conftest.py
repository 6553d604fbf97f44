import shutil

import pytest


@pytest.fixture
def rendered(rendered, tmp_path):
    """As it was rendered: tests of data modules may have packed the shared one."""
    return shutil.copytree(rendered, tmp_path / "rendered", ignore=shutil.ignore_patterns(".fusionlit"))
