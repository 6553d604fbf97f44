"""Reading of CSV files as columns, with checks for malformed files. Messages name the file, line and column."""

import csv
import math
import re
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fusionlit.data.signals.readers.text import is_number
from fusionlit.data.signals.windowing.tracks import Doubles
from fusionlit.errors import DataError

CHUNK = 512
"""Rows held as text at a time; chunks larger than the CPU cache take twice as long."""

Row = tuple[int, list[str]]


@dataclass(frozen=True)
class Table:
    """Some columns of a CSV file.

    Args:
        path: The file.
        lines: Line number of each row in the file, from 1, `(rows,)`.
        numbers: Columns of finite numbers by name; NaN where the cell is empty or `nan`.
        texts: Columns of text by name.
    """

    path: Path
    lines: NDArray[np.int64]
    numbers: dict[str, Doubles]
    texts: dict[str, NDArray[np.str_]]


def read_header(path: Path) -> dict[str, str]:
    """Unit of each column by name, from headers such as `acc_x [g]` or `acc_x (g)`; empty without a unit.

    Raises:
        DataError: If the file is empty, or its first line is not a header of unique names.
    """
    with _rows(path) as rows:
        line, cells = next(rows, (1, []))
    if not cells:
        raise DataError(f"{path}: expected a header and rows, but the file is empty. Restore it or remove it.")
    names, units = zip(*map(_name_and_unit, cells), strict=True)
    if all(is_number(cell) for cell in cells):
        raise DataError(
            f"{path}, line {line}: expected a header with column names, but got numbers. Add a first line of names."
        )
    if "" in names:
        raise DataError(
            f"{path}, line {line}: expected a name for every column, but column {names.index('') + 1} has none."
            " Name it in the header, or write the file without this column (pandas: index=False)."
        )
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError(f"{path}, line {line}: expected unique column names, but {twice} occur more than once.")
    return dict(zip(names, units, strict=True))


def read_table(path: Path, numbers: Collection[str], texts: Collection[str]) -> Table:
    """Read these columns, which must be in the header.

    Raises:
        DataError: If a row has more or fewer cells than the header, a number is text or infinite, or there are no rows.
    """
    header = list(read_header(path))
    places = {name: header.index(name) for name in (*numbers, *texts)}
    lines: list[int] = []
    parts: dict[str, list[NDArray[np.generic]]] = {name: [] for name in places}
    with _rows(path) as rows:
        next(rows)
        while chunk := list(islice(rows, CHUNK)):
            _check_widths(path, len(header), chunk)
            lines += [line for line, _ in chunk]
            for name, place in places.items():
                cells = [row[place] for _, row in chunk]
                parts[name].append(_numbers(path, name, cells, chunk) if name in numbers else np.char.strip(cells))
    if not lines:
        raise DataError(f"{path}: expected rows below the header, but there are none. Restore the file or remove it.")
    columns = {name: np.concatenate(part) for name, part in parts.items()}
    return Table(
        path,
        np.array(lines),
        {name: columns[name].astype(np.float64) for name in numbers},
        {name: columns[name].astype(np.str_) for name in texts},
    )


@contextmanager
def _rows(path: Path) -> Iterator[Iterator[Row]]:
    """Rows with their line numbers, without empty lines."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, skipinitialspace=True, strict=True)
            yield ((reader.line_num, row) for row in reader if row)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: expected a CSV file in UTF-8, but it cannot be read ({error}).") from error


def _check_widths(path: Path, width: int, rows: list[Row]) -> None:
    for line, row in rows:
        if len(row) != width:
            raise DataError(
                f"{path}, line {line}: expected {width} cells as in the header, but got {len(row)}. Complete or remove"
                " the line; leave cells without a value empty."
            )


def _numbers(path: Path, name: str, cells: list[str], rows: list[Row]) -> Doubles:
    """A column's finite numbers; an empty cell is NaN."""
    try:
        values = np.array([float(cell) if cell else math.nan for cell in cells])
        bad = np.flatnonzero(np.isinf(values))
    except ValueError:
        bad = np.array([k for k, cell in enumerate(cells) if cell and not is_number(cell)])
    if len(bad):
        line, cell = rows[bad[0]][0], cells[bad[0]]
        raise DataError(
            f"{path}, line {line}, column {name!r}: expected a finite number, or an empty cell for a missing value, but"
            f" got {cell!r}. Correct it; if the column is not a channel, give it a role in `columns`, or name the"
            " channels to read in `modalities`."
        )
    return values


def _name_and_unit(cell: str) -> tuple[str, str]:
    match = re.fullmatch(r"(.+?)(?:\s*\[([^\[\]]+)\]|\s+\(([^()]+)\))", cell.strip())
    return (match[1], match[2] or match[3]) if match else (cell.strip(), "")
