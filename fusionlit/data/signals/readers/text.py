"""Text files of numbers, one window per line."""

from pathlib import Path

import numpy as np

from fusionlit.data.signals.windows import Floats
from fusionlit.errors import DataError


def first_row(path: Path) -> list[str]:
    """Cells of the first line that is not empty.

    Raises:
        DataError: If there is none.
    """
    try:
        with path.open(encoding="utf-8") as file:
            cells = next((line.split() for line in file if line.strip()), None)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected a text file of numbers, but it cannot be read ({error}).") from error
    if cells is None:
        raise DataError(f"{path}: expected one line of numbers per window, but the file is empty. Copy it again.")
    return cells


def read_matrix(path: Path) -> Floats:
    """Numbers separated by blanks, `(lines, columns)`; `nan` is a missing value.

    Raises:
        DataError: If a line contains anything but numbers, or differs in length from the first; the message names it.
    """
    columns = len(first_row(path))
    try:
        return np.loadtxt(path, dtype=np.float32, comments=None, ndmin=2)
    except ValueError as error:
        raise DataError(_first_wrong_line(path, columns) or f"{path}: {error}") from error


def _first_wrong_line(path: Path, columns: int) -> str | None:
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            cells = line.split()
            if cells and len(cells) != columns:
                return (
                    f"{path}, line {number}: expected windows of equal length ({columns} samples, like the first), but"
                    f" got {len(cells)}. Crop or remove the window."
                )
            if wrong := next((cell for cell in cells if not is_number(cell)), None):
                return f"{path}, line {number}: expected numbers, but got {wrong!r}. Write missing values as nan."
    return None


def is_number(cell: str) -> bool:
    """Whether a cell of text is a number."""
    try:
        float(cell)
    except ValueError:
        return False
    return True
