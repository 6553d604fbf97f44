"""Every notebook runs from its first cell to its last, and what it shows is what was committed."""

import importlib.util
import json
import logging
import math
import shutil
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace

import nbformat
import pytest
import torch
from matplotlib.image import imread
from nbclient import NotebookClient
from torch import nn

from fusionlit.data import ArrayDataModule
from fusionlit.errors import ConfigError, DataError
from fusionlit.synthetic import render
from fusionlit.types import TargetSpec

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture(autouse=True)
def _lightning_may_speak_again():
    """A notebook's process may silence Lightning for good; this one has other tests to run."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    yield
    logger.setLevel(level)


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
    notebook = nbformat.read(path, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert all(output.output_type != "error" for cell in cells for output in cell.outputs)
    assert not any("TODO" in cell.source or cell.source.isupper() for cell in notebook.cells)


@pytest.fixture(scope="module")
def question() -> ModuleType:
    spec = importlib.util.spec_from_file_location("the_question", ROOT / "notebooks/the_question.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["the_question"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def plan(question, tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted") / "signals"
    render(folder, frames=10, task="signals")
    return question.Plan(partial(ArrayDataModule, folder / "signals.npz", ["strong", "noise"]), 1, (4,))


def test_l1_penalty_is_the_gradient_of_its_term(question):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.tensor([0.5, -0.2, 0.0]))

        def fusion_layers(self):
            return {"layer": self}

        def fusion_parameters(self):
            return [self.weight]

    ours, expected = Model(), Model()
    target = torch.tensor([1.0, 2.0, 3.0])
    (ours.weight - target).square().sum().backward()
    question.L1Penalty(0.3).on_before_optimizer_step(None, ours, None)
    ((expected.weight - target).square().sum() + 0.3 * expected.weight.abs().sum()).backward()
    torch.testing.assert_close(ours.weight.grad, expected.weight.grad)


def test_one_against_rest_is_the_mean_of_binary_cross_entropies(question):
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([0, 2, 1, 1, 0])
    probability = logits.sigmoid()
    own = probability[torch.arange(5), target]
    expected = -(own.log() + (1 - probability).log().sum(1) - (1 - own).log()) / 3
    torch.testing.assert_close(
        question.OneAgainstRest(TargetSpec("multiclass", 3)).losses(logits, target).loss, expected
    )


def test_settings_say_what_they_change(question):
    data = SimpleNamespace(modalities={"a": (3, 16), "b": (3, 16)}, target=TargetSpec("multiclass", 3))
    model = question.make_model(question.SETTINGS["default"], question.Plan(None, 1, (4,)), data)
    assert all(operator.form == "softmax" for operator in model.fusions.values())
    model = question.make_model(question.QUESTION, question.Plan(None, 1, (4,)), data)
    inputs = {name: torch.randn(4, 3, 16) for name in ("a", "b")}
    assert model(inputs).prediction.min() == 0  # by the ReLU
    assert model.configure_optimizers().param_groups[1]["lr"] == question.RATE


def test_finished_rows_are_not_trained_again(question, plan, tmp_path):
    file = tmp_path / "rows.jsonl"
    row = question.train_row("default", question.DEFAULT, 0, plan)
    file.write_text(json.dumps(row) + "\n")
    plan = replace(plan, results=file)
    settings = {"default": question.DEFAULT}
    assert question.train_all(settings, [0], plan, question.read_rows(file)) == [row]
    assert len(file.read_text().splitlines()) == 1
    with pytest.raises(ConfigError, match=r"has a row of 'default', seed 0, that was made with .*'epochs': 1"):
        question.train_all(settings, [0], replace(plan, epochs=2), question.read_rows(file))
    file.write_text(file.read_text()[:50])
    with pytest.raises(DataError, match=r"rows.jsonl: expected a row in every line"):
        question.read_rows(file)


def test_movement_and_table_by_hand(question):
    def source(initial: float, final: float, share: float | None) -> dict[str, float | None]:
        return {"initial": initial, "final": final, "contribution": share, "attribution": share}

    layers = {
        "inputs": {"a": source(0.5, 0.6, 0.5)},
        "stage1": {"a": source(0.3, 0.0, 0.5), "central": source(0.3, 0.4, 0.5)},
        "prediction": {"a": source(0.3, 0.5, 0.7), "central": source(0.3, 0.2, 0.3)},
    }
    rows = [
        {"setting": "x", "seed": seed, "accuracy": accuracy, "layers": layers}
        for seed, accuracy in [(0, 0.5), (1, 0.7)]
    ]
    assert question.moved(rows[0], last=False) == pytest.approx((0.1 + 0.3) / 2)
    assert question.moved(rows[0], last=True) == pytest.approx(0.2)
    line = question.markdown_table(rows, ["a"]).splitlines()[2]
    assert line.split(" | ")[1:4] == ["0.200 ± 0.000", "0.200 ± 0.000", "0.500 ± 0.000"]
    assert line.endswith(f"60.0 ± {math.sqrt(200):.1f} |")
    layers["prediction"]["a"] = source(0.3, 0.0, None)
    assert "nan" in question.markdown_table(rows, ["a"])
