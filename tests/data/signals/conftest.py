"""Small copies of the formats that the readers know."""

import pytest


@pytest.fixture
def uci_har(tmp_path, write_uci_har):
    """Folder and contents of a small UCI HAR."""
    return tmp_path / "uci", write_uci_har(tmp_path / "uci", length=16)
