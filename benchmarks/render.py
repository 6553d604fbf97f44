"""Frames per second of `fusionlit render`, including writing the files: `python benchmarks/render.py`."""

import tempfile
import time
from pathlib import Path
from typing import Literal

from fusionlit.synthetic import render

FRAMES = 1000


def main() -> None:
    """Render both tasks once, and print the rates; a frame is one image with its range image."""
    tasks: dict[Literal["shape", "position"], int] = {"shape": 2 * FRAMES, "position": FRAMES}
    for task, written in tasks.items():
        with tempfile.TemporaryDirectory() as folder:
            begin = time.perf_counter()
            render(Path(folder) / task, frames=FRAMES, task=task)
            print(f"{task}: {written / (time.perf_counter() - begin):,.0f} frames/s")


if __name__ == "__main__":
    main()
