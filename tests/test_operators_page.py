"""docs/operators.md: every operator has a row, and what the row says about its size is true."""

import re
from importlib.util import module_from_spec, spec_from_file_location
from inspect import isabstract
from pathlib import Path

import pytest
import torch

from fusionlit import fusion
from fusionlit.errors import ConfigError
from fusionlit.fusion import BottleneckAttention, FusionOperator, TransformerFusion

ROOT = Path(__file__).parents[1]


SPEC = spec_from_file_location("benchmarks_operators", ROOT / "benchmarks/operators.py")
benchmark = module_from_spec(SPEC)
SPEC.loader.exec_module(benchmark)
ROWS = {
    cells[0]: cells[1:]
    for line in (ROOT / "docs/operators.md").read_text().splitlines()
    if (cells := [cell.strip() for cell in line.strip("|").split("|")])[0] in benchmark.CASES
}
LOOSER = {"one grid": "any", "one shape": "one grid", "square maps": "one shape", "vectors": "one grid"}


@pytest.fixture(params=benchmark.CASES)
def row(request):
    return benchmark.CASES[request.param], ROWS[request.param]


def test_every_operator_has_a_row():
    classes = [getattr(fusion, name) for name in fusion.__all__]
    operators = {x.__name__ for x in classes if isinstance(x, type) and issubclass(x, FusionOperator)}
    assert {name.split(",")[0] for name in ROWS} == operators - {"FusionOperator"}
    assert isabstract(FusionOperator)


def test_the_page_says_what_the_script_says(row):
    case, cells = row
    assert cells[:4] == [case.wants, f"`{case.formula}`", f"`{case.parameters}`", f"`{case.multiply_adds}`"]


@pytest.mark.parametrize("sources", [2, 3])
def test_parameters_and_multiply_adds_of_the_page_are_right(row, sources):
    case, cells = row
    parameters, multiply_adds = (cell.strip("`") for cell in cells[2:4])
    for scale in (1, 3):
        shapes = benchmark.named([(scale * s[0], *s[1:]) for s in benchmark.SHAPES[case.wants][:sources]])
        operator = case.make(shapes)
        assert sum(p.numel() for p in operator.parameters()) == benchmark.evaluate(parameters, shapes)
        assert benchmark.counted_multiply_adds(operator, shapes) == benchmark.evaluate(multiply_adds, shapes)


def test_deeper_bottleneck():
    shapes = benchmark.named(benchmark.SHAPES["any"])
    operator = BottleneckAttention(shapes, benchmark.WIDTH, benchmark.TOKENS, benchmark.HEADS, layers=3)
    _, _, parameters, multiply_adds = (cell.strip("`") for cell in ROWS["BottleneckAttention"][:4])
    assert sum(p.numel() for p in operator.parameters()) == benchmark.evaluate(parameters, shapes, layers=3)
    assert benchmark.counted_multiply_adds(operator, shapes) == benchmark.evaluate(multiply_adds, shapes, layers=3)


def test_deeper_transformer():
    shapes = benchmark.named(benchmark.SHAPES["any"])
    operator = TransformerFusion(shapes, benchmark.WIDTH, benchmark.HEADS, layers=3)
    _, _, parameters, multiply_adds = (cell.strip("`") for cell in ROWS["TransformerFusion"][:4])
    assert sum(p.numel() for p in operator.parameters()) == benchmark.evaluate(parameters, shapes, layers=3)
    assert benchmark.counted_multiply_adds(operator, shapes) == benchmark.evaluate(multiply_adds, shapes, layers=3)


def test_what_is_wanted_is_needed(row):
    case, _ = row
    if case.wants in LOOSER:
        with pytest.raises(ConfigError):
            case.make(benchmark.named(benchmark.SHAPES[LOOSER[case.wants]]))


def test_measured_columns_hold(row):
    case, cells = row
    assert benchmark.oracle_error(case) <= 1e-10
    assert float(cells[4]) <= 1e-10
    operator = case.make(benchmark.named(benchmark.SHAPES[case.wants]))
    least = 0.2 if operator.gives_prediction else 0.3
    for std in cells[5:]:
        assert re.fullmatch(r"refused: \S+ weights", std) or least <= float(std) <= 3


def test_oracles_can_fail(row):
    case, _ = row
    shapes = benchmark.named(benchmark.SHAPES[case.wants])
    operator = case.make(shapes).double().eval()
    features = {name: x.double() for name, x in benchmark.draw(shapes, 3).items()}
    moved = {name: x + torch.randn_like(x) for name, x in features.items()}
    assert (operator(features) - case.oracle(operator, list(moved.values()))).abs().max() > 1e-3
