"""Every notebook runs from its first cell to its last, and what it shows is what was committed."""

import shutil
from pathlib import Path

import nbformat
import pytest
from matplotlib.image import imread
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


# In the notebook, and in its short form: fewer samples, seeds and epochs.
SHORTER = {
    "why_fusion_weights_barely_move": {
        "frames=800": "frames=150",
        "range(5), plan": "range(1), plan",
        "plan = Plan(data, epochs=4": "plan = Plan(data, epochs=1",
        "Plan(data, epochs=16": "Plan(data, epochs=2",
        'SETTINGS["default"], 0, Plan(data, epochs=4': 'SETTINGS["default"], 0, Plan(data, epochs=2',
    }
}


@pytest.mark.soak
@pytest.mark.timeout(1800)  # minutes on two cores, more on one
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, tmp_path, monkeypatch):
    run(nbformat.read(path, as_version=4), tmp_path, monkeypatch)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_on_less(path, tmp_path, monkeypatch):
    notebook = nbformat.read(path, as_version=4)
    whole = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    for long, short in SHORTER[path.stem].items():
        assert whole.count(long) == 1, long
        for cell in notebook.cells:
            cell.source = cell.source.replace(long, short)
    run(notebook, tmp_path, monkeypatch)


def run(notebook, tmp_path, monkeypatch):
    for folder in ("notebooks", "benchmarks"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    # A kernel of this interpreter, whatever others are installed for the user.
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    client = NotebookClient(notebook, timeout=1800, resources={"metadata": {"path": str(tmp_path / "notebooks")}})
    client.execute()
    pictures = sorted((tmp_path / "docs/images").glob("*.png"))
    shown = sorted(picture.name for picture in (ROOT / "docs/images").glob("why_*.png"))
    assert [picture.name for picture in pictures] == shown
    assert all(imread(picture)[..., :3].std() > 0.01 for picture in pictures)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_was_committed_as_it_ran(path):
    """Otherwise its readers see no tables and no pictures."""
    notebook = nbformat.read(path, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert all(output.output_type != "error" for cell in cells for output in cell.outputs)
    assert not any("TODO" in cell.source or cell.source.isupper() for cell in notebook.cells)


def test_nothing_but_notebooks_lies_beside_them():
    assert sorted(path for path in (ROOT / "notebooks").iterdir() if path.is_file()) == NOTEBOOKS
