import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from fusionlit.data.augment.rotation import random_rotations, rotate, rotations


def test_rotations_are_scipys():
    rng = np.random.default_rng(0)
    axis, angle = rng.normal(size=(50, 3)), rng.uniform(-np.pi, np.pi, 50)
    unit = axis / np.linalg.norm(axis, axis=1, keepdims=True)
    expected = Rotation.from_rotvec(unit * angle[:, None])
    found = rotations(torch.from_numpy(axis), torch.from_numpy(angle))
    np.testing.assert_allclose(found.numpy(), expected.as_matrix(), atol=1e-12)
    vectors = rng.normal(size=(50, 6, 4))
    turned = rotate(torch.from_numpy(vectors), found).numpy()
    for t in range(4):
        np.testing.assert_allclose(turned[:, :3, t], expected.apply(vectors[:, :3, t]), atol=1e-12)
        np.testing.assert_allclose(turned[:, 3:, t], expected.apply(vectors[:, 3:, t]), atol=1e-12)


@pytest.mark.parametrize("degrees", [30, 180])
def test_axes_are_uniform_on_the_sphere_and_angles_up_to_the_largest(degrees):
    n = 20_000
    vectors = Rotation.from_matrix(random_rotations(n, degrees, torch.Generator().manual_seed(0)).numpy()).as_rotvec()
    angle = np.rad2deg(np.linalg.norm(vectors, axis=1))
    assert angle.max() <= degrees * (1 + 1e-4)
    error = 4 * degrees / np.sqrt(12 * n)
    assert angle.mean() == pytest.approx(degrees / 2, abs=error)  # the absolute value of a uniform angle
    assert angle.std() == pytest.approx(degrees / np.sqrt(12), rel=0.03)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(unit.mean(0), 0, atol=4 / np.sqrt(3 * n))
    np.testing.assert_allclose(unit.T @ unit / n, np.eye(3) / 3, atol=4 * 0.3 / np.sqrt(n))
