"""Every notebook runs from its first cell to its last, and what it shows is what was committed."""

import shutil
from pathlib import Path

import nbformat
import pytest
from matplotlib.image import imread
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.timeout(1800)  # minutes on two cores, more on one
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, tmp_path, monkeypatch):
    for folder in ("notebooks", "benchmarks/results"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    # A kernel of this interpreter, whatever others are installed for the user.
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=1800, resources={"metadata": {"path": str(tmp_path / "notebooks")}})
    client.execute()
    pictures = sorted((tmp_path / "docs/images").glob("*.png"))
    shown = sorted(picture.name for picture in (ROOT / "docs/images").glob("why_*.png"))
    assert [picture.name for picture in pictures] == shown
    assert all(imread(picture)[..., :3].std() > 0.01 for picture in pictures)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_was_committed_as_it_ran(path):
    """Otherwise its readers see no tables and no pictures."""
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert all(output.output_type != "error" for cell in cells for output in cell.outputs)
