"""The question's CentralNet of the notebook: its parts by hand, its rows, and its table."""

import importlib
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from fusionlit.compare import Ledger, Row, flat
from fusionlit.errors import ConfigError
from fusionlit.synthetic import render
from fusionlit.types import TargetSpec, shapes_of

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def question() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")  # where class paths and other processes look for it
        yield importlib.import_module("the_question")


@pytest.fixture(scope="module")
def rows_of(question) -> ModuleType:
    return importlib.import_module("question_rows")


@pytest.fixture(scope="module")
def plan(question, tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted") / "signals"
    render(folder, frames=10, task="signals")
    arguments = {"path": str(folder / "signals.npz"), "modalities": ["strong", "noise"]}
    return question.Plan({"class_path": "ArrayDataModule", "init_args": arguments}, 1, (4,))


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


def test_settings_say_what_they_change(question, plan):
    run = question.make_run(question.SETTINGS["default"], 0, plan)
    assert all(operator.form == "softmax" for operator in run.model.fusions.values())
    run, _, _ = question.train(question.QUESTION, 0, plan)
    inputs = {name: torch.randn(4, *shape) for name, shape in shapes_of(run.datamodule.modalities).items()}
    assert run.model(inputs).prediction.min() == 0  # by the ReLU
    assert isinstance(run.model.task, question.OneAgainstRest)
    assert run.model.configure_optimizers().param_groups[1]["lr"] == question.RATE
    assert [x.factor for x in run.trainer.callbacks if isinstance(x, question.L1Penalty)] == [question.QUESTION.l1]


def test_finished_rows_are_not_trained_again(question, rows_of, plan, tmp_path):
    plan = replace(plan, results=tmp_path / "rows.jsonl")
    settings = {"default": question.DEFAULT}
    (row,) = rows_of.train_all(settings, [0], plan)
    assert rows_of.train_all(settings, [0], plan) == [row] == Ledger(plan.results).rows()
    assert {"accuracy", "layers/stage1/noise/final", "layers/stage1/strong/attribution"} <= set(row.metrics)
    with pytest.raises(ConfigError, match=r"row of default, seed 0, .* differently: trainer.max_epochs was 1, now 2"):
        rows_of.train_all(settings, [0], replace(plan, epochs=2))


def test_movement_and_table_by_hand(rows_of):
    def source(initial: float, final: float, share: float | None) -> dict[str, float | None]:
        return {"initial": initial, "final": final, "contribution": share, "attribution": share}

    layers = {
        "inputs": {"a": source(0.5, 0.6, 0.5)},
        "stage1": {"a": source(0.3, 0.0, 0.5), "central": source(0.3, 0.4, 0.5)},
        "prediction": {"a": source(0.3, 0.5, 0.7), "central": source(0.3, 0.2, 0.3)},
    }

    def rows():
        figures = flat(layers, "layers")
        return [Row("x", seed, {"accuracy": accuracy, **figures}) for seed, accuracy in [(0, 0.5), (1, 0.7)]]

    assert rows_of.moved(rows()[0], last=False) == pytest.approx((0.1 + 0.3) / 2)
    assert rows_of.moved(rows()[0], last=True) == pytest.approx(0.2)
    line = rows_of.summary(rows(), ["a"]).splitlines()[2]
    assert line.split(" | ")[1:4] == ["0.200 ± 0.000", "0.200 ± 0.000", "0.500 ± 0.000"]
    assert line.endswith(f"60.0 ± {math.sqrt(200):.1f} |")
    layers["prediction"]["a"] = source(0.3, 0.0, None)
    assert "nan" in rows_of.summary(rows(), ["a"])
