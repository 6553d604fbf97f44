"""`positions.csv` of the position task: a header, then one row per frame with x, y, z of three objects."""

import csv
import math
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from fusionlit.errors import DataError

COLUMNS = 9


def read_names(path: Path) -> tuple[str, ...]:
    """Column names in the header.

    Raises:
        DataError: If the file is missing, has no header, or has another number of columns.
    """
    if not path.exists():
        raise DataError(
            f"{path}: missing. The position task needs its targets: copy the file from the original data set."
        )
    rows = _read_rows(path, most=1)
    line, names = rows[0] if rows else (1, [])
    if len(names) != COLUMNS:
        raise DataError(
            f"{path}, line {line}: expected a header of {COLUMNS} columns (x, y, z of three objects), but got"
            f" {len(names)}. Remove or add columns."
        )
    if _parse(names) is not None:
        raise DataError(
            f"{path}, line {line}: expected a header with column names, but got numbers. Add a first line of"
            " names; otherwise the first frame's positions would be lost."
        )
    return tuple(name.strip() for name in names)


def read_positions(path: Path, frames: int) -> tuple[Tensor, dict[int, str]]:
    """Targets `(frames, 9)` float32, and what is wrong with each unusable row (its values are NaN).

    Args:
        path: The CSV file.
        frames: Number of frames in the data set; row k belongs to the k-th frame.

    Raises:
        DataError: If the number of rows differs from that of the frames, so that they cannot be matched.
    """
    rows = _read_rows(path)[1:]
    if len(rows) != frames:
        raise DataError(
            f"{path}: expected {frames} rows below the header, one per frame in rgb/ and lidar/, but got"
            f" {len(rows)}, which cannot be matched to frames. Restore the missing files or rows."
        )
    values, bad = [], {}
    for k, (line, row) in enumerate(rows):
        numbers = _parse(row)
        if numbers is None or len(numbers) != COLUMNS:
            bad[k] = f"{path}, line {line}: expected {COLUMNS} finite numbers, but got {','.join(row)!r}."
            numbers = [float("nan")] * COLUMNS
        values.append(numbers)
    return torch.tensor(values, dtype=torch.float32).reshape(-1, COLUMNS), bad


def _read_rows(path: Path, most: int | None = None) -> list[tuple[int, list[str]]]:
    """Rows with their line numbers, without empty lines."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            return list(islice(((reader.line_num, row) for row in reader if row), most))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: expected a CSV file in UTF-8, but it cannot be read ({error}).") from error


def _parse(row: list[str]) -> list[float] | None:
    """The row's numbers; None if one of them is text, NaN or infinite."""
    try:
        numbers = [float(cell) for cell in row]
    except ValueError:
        return None
    return numbers if all(map(math.isfinite, numbers)) else None
