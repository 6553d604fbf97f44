import numpy as np
import pytest
import torch

from fusionlit.data.replicator.angles import read_angles
from fusionlit.errors import DataError


def folders(root):
    return [root / "cubes", root / "spheres"]


def test_angles_are_read_as_float32(shape_root):
    for folder in folders(shape_root):
        np.save(folder / "zenith.npy", np.load(folder / "zenith.npy").astype(np.float64))
    azimuth, zenith = read_angles(folders(shape_root))
    assert azimuth.dtype == zenith.dtype == torch.float32
    np.testing.assert_allclose(zenith, np.deg2rad((np.arange(64) - 32) * 0.5), rtol=1e-6)


def test_a_missing_file_is_named(shape_root):
    (shape_root / "spheres" / "zenith.npy").unlink()
    with pytest.raises(DataError, match=r"spheres/zenith\.npy: missing.*copy it from the original"):
        read_angles(folders(shape_root))


@pytest.mark.parametrize(
    ("angles", "message"),
    [
        (np.zeros((64, 1), np.float32), r"expected a vector of finite .* but got float32 of shape \(64, 1\)"),
        (np.arange(64), r"expected a vector of finite .* but got int64 of shape \(64,\)"),
        (np.full(64, np.nan), "expected a vector of finite"),
        (np.zeros(0), "expected a vector of finite"),
        (np.arange(64) / 2.0, r"expected angles in radians, but the largest is 31.5.*deg2rad"),
        (np.full(64, None), "expected a plain NPY array"),
    ],
)
def test_what_is_no_angle_is_refused(shape_root, angles, message):
    np.save(shape_root / "cubes" / "azimuth.npy", angles)
    with pytest.raises(DataError, match=rf"cubes/azimuth\.npy: {message}"):
        read_angles(folders(shape_root))


def test_angles_of_another_number_than_the_depth_files_rows_are_refused(shape_root):
    for folder in folders(shape_root):
        np.save(folder / "azimuth.npy", np.linspace(-0.2, 0.2, 63, dtype=np.float32))
    with pytest.raises(DataError, match=r"63 and 64 angles, but lidar/0000\.npy has shape \(64, 64\)"):
        read_angles(folders(shape_root))


def test_one_broken_depth_file_does_not_accuse_the_angles(shape_root):
    np.save(shape_root / "cubes" / "lidar" / "0000.npy", np.zeros((3, 3), np.float32))
    (shape_root / "cubes" / "lidar" / "0001.npy").write_bytes(b"")
    assert len(read_angles(folders(shape_root))[0]) == 64


def test_angles_that_differ_between_classes_would_tell_the_class(shape_root):
    path = shape_root / "spheres" / "azimuth.npy"
    np.save(path, np.load(path) * 1.001)
    with pytest.raises(DataError, match=r"spheres/azimuth\.npy: expected the same angles as .*cubes/azimuth\.npy"):
        read_angles(folders(shape_root))
