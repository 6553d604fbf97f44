"""Tables of results, for the terminal and for Markdown."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import NamedTuple

from rich.table import Table as RichTable

from fusionlit.compare.rows import Row

Figure = str | Callable[[Row], float | None]
"""The name of a metric, or a function that computes a figure from a row."""
LEFT_OUT = ("efficiency/trainable_parameters", "efficiency/peak_host_memory_mb")
"""Metrics that every row has, and that `common_figures` leaves out."""


class Column(NamedTuple):
    """One column of a table.

    Args:
        cells: Values of all seeds, or a text, by the name of the line; a missing line leaves its cell empty.
        digits: Decimal places; default: four significant digits, and two for the standard deviation.
    """

    cells: Mapping[str, Sequence[float] | str]
    digits: int | None = None


@dataclass(frozen=True)
class Table:
    """A table, ready to be shown.

    Args:
        head: Names of the columns.
        lines: Cells of each line.
    """

    head: Sequence[str]
    lines: Sequence[Sequence[str]]

    def rich(self, title: str | None = None) -> RichTable:
        """The table for the terminal."""
        view = RichTable(title=title)
        for i, name in enumerate(self.head):
            view.add_column(name, justify="right" if i else "left")
        for line in self.lines:
            view.add_row(*line)
        return view

    def markdown(self) -> str:
        """The table in Markdown."""
        head = f"| {' | '.join(self.head)} |"
        rule = "|---|" + "---:|" * (len(self.head) - 1)
        return "\n".join([head, rule, *(f"| {' | '.join(line)} |" for line in self.lines)])


def table(columns: Mapping[str, Column], corner: str = "model", order: Iterable[str] = ()) -> Table:
    """One line per name, with mean ± standard deviation over the seeds in every cell.

    Args:
        columns: Columns by name.
        corner: Name of the first column, which contains the names of the lines.
        order: Names of the first lines, in this order; the others follow in the order of their appearance.
    """
    names = dict.fromkeys([*order, *(name for column in columns.values() for name in column.cells)])
    lines = []
    for name in names:
        cells = [column.cells.get(name, "") for column in columns.values()]
        texts = [x if isinstance(x, str) else spread(x, y.digits) for x, y in zip(cells, columns.values(), strict=True)]
        lines.append([name, *texts])
    return Table([corner, *columns], lines)


def values(rows: Iterable[Row], figure: Figure, factor: float = 1.0) -> dict[str, list[float]]:
    """A figure of every model, in the order of the seeds; NaN where a row lacks it.

    Args:
        rows: Rows of any models and seeds.
        figure: The figure.
        factor: Factor to multiply it by, such as 100 for percent.
    """
    found: dict[str, list[float]] = {row.model: [] for row in rows}
    for row in sorted(rows, key=lambda row: row.seed):
        value = row.metrics.get(figure) if isinstance(figure, str) else figure(row)
        found[row.model].append(math.nan if value is None else factor * value)
    return found


def spread(numbers: Sequence[float], digits: int | None = None) -> str:
    """Mean ± standard deviation; only the mean of a single number, or if one is not finite; empty without numbers."""
    if not numbers:
        return ""
    if not all(map(math.isfinite, numbers)):
        return f"{sum(numbers):.4g}"
    mean_format, deviation_format = (".4g", ".2g") if digits is None else (f".{digits}f", f".{digits}f")
    deviation = f" ± {stdev(numbers):{deviation_format}}" if len(numbers) > 1 else ""
    return f"{mean(numbers):{mean_format}}{deviation}"


def common_figures(rows: Sequence[Row]) -> list[str]:
    """Metrics that all rows have, in order, without those in `LEFT_OUT`."""
    return [name for name in rows[0].metrics if name not in LEFT_OUT and all(name in row.metrics for row in rows)]
