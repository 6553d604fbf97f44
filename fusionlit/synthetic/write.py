"""Renders a data set to disk: RGB and LiDAR in the replicator format, or planted signals of several sensors."""

import csv
import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image
from rich.progress import track

from fusionlit.data.replicator.folders import UNFINISHED
from fusionlit.errors import ConfigError, DataError
from fusionlit.synthetic.joint_signals import FILES as JOINT_FILES
from fusionlit.synthetic.joint_signals import write_joint_signals
from fusionlit.synthetic.raycast import ShapeHit, hit_cube, hit_sphere
from fusionlit.synthetic.scene import PRIMARIES, Objects, draw_objects
from fusionlit.synthetic.sensors import ANGLES, camera_image, camera_rays, lidar_depth, lidar_rays
from fusionlit.synthetic.signals import FILES, MIXED_RATES, RATES, write_signals

Task = Literal["shape", "position", "signals", "multirate_signals", "joint_signals"]
SHAPES: dict[str, ShapeHit] = {"cubes": hit_cube, "spheres": hit_sphere}
CHUNK = 16
"""Frames per ray-casting call, small enough for the processor's cache; the output does not depend on it."""


def render(root: Path, frames: int = 1000, seed: int = 0, task: Task = "shape", overwrite: bool = False) -> None:
    """Render a data set: RGB and LiDAR by ray casting, or signals with a known truth.

    `shape`: one sphere or cube, with one folder per class: `ROOT/{cubes,spheres}/{rgb/NNNN.png, lidar/NNNN.npy,
    azimuth.npy, zenith.npy}`, the format of NVIDIA's multimodal course. Frames of the same number are twins: same
    position, rotation, color and light. `position`: a red, a green and a blue cube: the same files in `ROOT`, and
    `positions.csv` with one row per frame.

    `signals`: windows (2.56 s, three channels, 50 Hz) of four sensors; the class is the loudest of four rhythms.
    `strong` is very informative, `weak` less, `noise` not at all, and `redundant`, a noisy copy of `strong`, adds
    nothing to it. `ROOT/signals.npz` is for ArrayDataModule; `ROOT/truth.json` describes each sensor and gives the
    accuracy of the Bayes-optimal rule for every set of sensors, exact or with its standard error. `multirate_signals`:
    the same at 25, 50 and 100 Hz.

    `joint_signals`: three files of two classes, `exclusive_or.npz`, `ratio.npz` and `synchrony.npz`, whose class can be
    inferred from the sensors `left` and `right` together: whether their bits differ, which is louder, which leads. One
    of them alone has no information (little for the ratio), and `noise` none. `truth.json` also gives the accuracy of
    the average of the sensors' optimal predictions.

    The same seed gives the same bytes. Until the last file is written, a marker file indicates that the data set is
    incomplete.

    Args:
        root: Folder of the data set; created if it does not exist.
        frames: Frames or windows per class.
        seed: Seed of the scenes or signals; frame k depends only on seed and k.
        task: What to render: `shape`, `position`, `signals`, `multirate_signals` or `joint_signals`.
        overwrite: First remove the files of a data set that was rendered to `root`, and no others.

    Raises:
        ConfigError: If `frames` or `seed` is out of range.
        DataError: If `root` contains a data set and `overwrite` is false, or class folders not written by the renderer.
    """
    if frames < 1 or seed < 0:
        raise ConfigError(f"Expected `frames` >= 1 and `seed` >= 0, but got frames={frames} and seed={seed}.")
    root = Path(root)
    outdated = _outdated_files(root, overwrite)
    root.mkdir(parents=True, exist_ok=True)
    (root / UNFINISHED).touch()
    for path in outdated:
        path.unlink()
    for folder in sorted({path.parent for path in outdated} - {root}, reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()
    if task in ("signals", "multirate_signals"):
        write_signals(root, frames, seed, RATES if task == "signals" else MIXED_RATES)
    elif task == "joint_signals":
        write_joint_signals(root, frames, seed)
    elif task == "shape":
        _write_frames({root / name: hit for name, hit in SHAPES.items()}, frames, seed, None)
    else:
        colors = np.array(list(PRIMARIES.values()))
        _write_frames({root: hit_cube}, frames, seed, colors)
        _write_positions(root / "positions.csv", draw_objects(seed, range(frames), colors))
    (root / UNFINISHED).unlink()


def _write_frames(folders: dict[Path, ShapeHit], frames: int, seed: int, colors: np.ndarray | None) -> None:
    digits = max(4, len(str(frames - 1)))
    to_lidar, to_camera = lidar_rays(), camera_rays()
    for folder in folders:
        (folder / "rgb").mkdir(parents=True, exist_ok=True)
        (folder / "lidar").mkdir(exist_ok=True)
        np.save(folder / "azimuth.npy", ANGLES)
        np.save(folder / "zenith.npy", ANGLES)

    def write(chunk: range) -> None:
        objects = draw_objects(seed, chunk, colors)
        for folder, hit in folders.items():
            images, depths = camera_image(to_camera, objects, hit), lidar_depth(to_lidar, objects, hit)
            for k, image, depth in zip(chunk, images, depths, strict=True):
                Image.fromarray(image).save(folder / "rgb" / f"{k:0{digits}d}.png", compress_level=1)
                np.save(folder / "lidar" / f"{k:0{digits}d}.npy", depth)

    chunks = [range(start, min(start + CHUNK, frames)) for start in range(0, frames, CHUNK)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in track(pool.map(write, chunks), description="rendering", total=len(chunks)):
            pass


def _write_positions(path: Path, objects: Objects) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(f"{color}_{axis}" for color in PRIMARIES for axis in "xyz")
        writer.writerows([f"{value:.6f}" for value in centers.ravel()] for centers in objects.center)


def _outdated_files(root: Path, overwrite: bool) -> list[Path]:
    """Files of a data set to replace; raises if data sets would be mixed, or replaced without `overwrite`."""
    if root.exists() and not root.is_dir():
        raise DataError(f"{root}: expected a folder or nothing, but found a file. Choose another ROOT.")
    foreign = [d.name for d in root.glob("*/") if d.name not in (*SHAPES, "rgb", "lidar") and _is_class_folder(d)]
    if foreign:
        raise DataError(
            f"{root}: found class folders not written by the renderer: {', '.join(sorted(foreign))}. They would"
            " become part of the rendered data set. Choose another ROOT, or move them away."
        )
    found = list(_owned_files(root))
    if found and not overwrite:
        counts = ", ".join(f"{count} {kind}" for kind, count in Counter(p.suffix or p.name for p in found).items())
        raise DataError(
            f"{root}: found a data set already ({counts} files, such as {found[0].relative_to(root)}). Choose another"
            " ROOT, or pass --overwrite to replace it."
        )
    return [path for path in found if path.name != UNFINISHED]


def _is_class_folder(folder: Path) -> bool:
    return (folder / "rgb").is_dir() or (folder / "lidar").is_dir()


def _owned_files(root: Path) -> Iterator[Path]:
    for folder in (root, *(root / name for name in SHAPES)):
        yield from (path for path in sorted(folder.glob("rgb/*.png")) if path.stem.isdecimal())
        yield from (path for path in sorted(folder.glob("lidar/*.npy")) if path.stem.isdecimal())
        yield from (folder / name for name in ("azimuth.npy", "zenith.npy") if (folder / name).exists())
    names = dict.fromkeys(("positions.csv", *FILES, *JOINT_FILES, UNFINISHED))  # both have a truth.json
    yield from (root / name for name in names if (root / name).exists())
