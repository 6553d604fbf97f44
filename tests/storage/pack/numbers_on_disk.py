"""A small data set of real files, one number each, and how it is packed."""

import time
from pathlib import Path

import numpy as np

from fusionlit.errors import DataError
from fusionlit.storage.pack import Column, Contents, Source, fingerprint, in_folders

ROWS = 1000
SHAPE = (5000,)


def write(root: Path, numbers=range(0, ROWS, 100)) -> Path:
    (root / "items").mkdir(parents=True)
    for number in numbers:
        (root / "items" / f"{number}.txt").write_text(f"{number:06d}")
    return root


def source(root: Path, pause: float = 0.0, rows: int = ROWS, recipe: str = "") -> Source:
    def read(row):
        time.sleep(pause)
        text = (root / "items" / f"{row}.txt").read_text()
        if not text.isdecimal():
            raise DataError(f"{root}/items/{row}.txt: expected a number, but got {text!r}.")
        return {"x": np.full(SHAPE, int(text), np.float32), "y": np.array([int(text)], np.uint16)}

    def contents():
        columns = {"x": Column("<f4", (rows, *SHAPE)), "y": Column("<u2", (rows, 1))}
        there = sorted(int(path.stem) for path in (root / "items").glob("*.txt"))
        return Contents(columns, there, read, {"recipe": recipe})

    return Source(root, recipe, lambda: fingerprint(in_folders(root, [(root / "items", ".txt")])), contents)


def values(pack) -> dict[int, float]:
    """What is in the rows that are not 0; all of a row must be equal."""
    x, y = pack.arrays["x"][slice(0, ROWS)], pack.arrays["y"][slice(0, ROWS)]
    assert (x == x[:, :1]).all()
    assert (x[:, :1].astype(np.uint16) == y).all()
    return {int(row): float(x[row, 0]) for row in np.flatnonzero(x[:, 0])}
