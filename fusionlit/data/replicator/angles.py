"""The LiDAR's angles: `azimuth.npy` and `zenith.npy` next to every folder of depth files."""

from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fusionlit.data.replicator.files import read_npy
from fusionlit.errors import DataError


def read_angles(folders: list[Path]) -> tuple[Tensor, Tensor]:
    """Read azimuth `(H,)` and zenith `(W,)` in rad, float32, which all folders must share.

    Raises:
        DataError: If a file is missing, does not contain angles, does not match the depth files, or differs between
            folders, which would leak the label.
    """
    azimuth, zenith = (_read_angle_file(folders[0] / f"{name}.npy") for name in ("azimuth", "zenith"))
    for folder in folders:
        for name, expected in (("azimuth", azimuth), ("zenith", zenith)):
            if not torch.equal(_read_angle_file(folder / f"{name}.npy"), expected):
                raise DataError(
                    f"{folder / name}.npy: expected the same angles as {folders[0] / name}.npy, but they"
                    " differ, which would leak the label. Copy one over the other, or record with one sensor."
                )
        _check_length(folder, (len(azimuth), len(zenith)))
    return azimuth, zenith


def _check_length(folder: Path, shape: tuple[int, int]) -> None:
    """Raise DataError unless the angles match one of the first depth files (any single file may be damaged)."""
    found = {path: _npy_shape(path) for path in islice(sorted(folder.glob("lidar/*.npy")), 16)}
    if found and shape not in found.values():
        path, first = next(iter(found.items()))
        raise DataError(
            f"{folder}: azimuth.npy and zenith.npy have {shape[0]} and {shape[1]} angles, but"
            f" {path.relative_to(folder)} has shape {first} (rows azimuth, columns zenith). Copy the angle files of the"
            " sensor that recorded it."
        )


def _read_angle_file(path: Path) -> Tensor:
    if not path.exists():
        raise DataError(
            f"{path}: missing. Points cannot be computed without these angles: copy it from the original data set."
        )
    angles = read_npy(path)
    if angles.ndim != 1 or angles.dtype.kind != "f" or not np.isfinite(angles).all() or not angles.size:
        raise DataError(
            f"{path}: expected a vector of finite floating-point angles, but got {angles.dtype} of shape"
            f" {angles.shape}. Copy it from the original data set."
        )
    if np.abs(angles).max() > 2 * np.pi:
        raise DataError(
            f"{path}: expected angles in radians, but the largest is {np.abs(angles).max():g}."
            " Convert degrees with numpy.deg2rad."
        )
    return torch.from_numpy(angles.astype(np.float32))


def _npy_shape(path: Path) -> tuple[int, ...] | None:
    try:
        return tuple(np.load(path, mmap_mode="r", allow_pickle=False).shape)
    except Exception:  # the full check reports this file
        return None
