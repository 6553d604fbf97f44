"""One table of results: means and deviations by hand, for the terminal and for pages."""

import math
from io import StringIO

import pytest
from rich.console import Console

from fusionlit.compare.rows import Row
from fusionlit.compare.tables import Column, common_figures, spread, table, values

ROWS = [
    Row("late", 1, {"test/accuracy": 0.75, "test/extra": 1.0}),
    Row("early", 1, {"test/accuracy": 0.7}),
    Row("early", 0, {"test/accuracy": 0.5, "efficiency/trainable_parameters": 3.0}),
]


def test_values_are_in_the_order_of_the_seeds():
    assert values(ROWS, "test/accuracy", 100) == {"late": [75.0], "early": [50.0, 70.0]}
    assert values(ROWS, lambda row: row.seed) == {"late": [1.0], "early": [0.0, 1.0]}
    assert math.isnan(values(ROWS, "test/extra")["early"][0])


def test_means_and_deviations_are_those_by_hand():
    assert spread([50.0, 70.0], 1) == f"60.0 ± {math.sqrt(200):.1f}"
    assert spread([0.123456, 0.123456]) == "0.1235 ± 0"
    assert spread([0.5], 2) == "0.50"
    assert spread([]) == ""
    assert "nan" in spread([math.nan, 1.0], 1)


def test_one_table_for_the_terminal_and_for_pages():
    columns = {
        "accuracy": Column(values(ROWS, "test/accuracy", 100), 1),
        "other set": Column({"late": "refused", "third": [1.0]}),
    }
    made = table(columns, order=["early"])
    assert made.markdown().splitlines() == [
        "| model | accuracy | other set |",
        "|---|---:|---:|",
        "| early | 60.0 ± 14.1 |  |",
        "| late | 75.0 | refused |",
        "| third |  | 1 |",
    ]
    console = Console(file=StringIO(), width=100)
    console.print(made.rich("A title"))
    shown = console.file.getvalue()
    assert all(text in shown for text in ("A title", "60.0 ± 14.1", "refused", "other set"))


def test_figures_that_all_rows_have():
    assert common_figures(ROWS) == ["test/accuracy"]
    both = [Row("a", 0, {"x": 1.0, "efficiency/trainable_parameters": 1.0})]
    assert common_figures(both) == ["x"]


@pytest.mark.parametrize("text", ["model", "setting"])
def test_the_corner_says_what_the_lines_are(text):
    assert table({"x": Column({"a": [1.0]})}, text).head == [text, "x"]
