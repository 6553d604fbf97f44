import numpy as np

from fusionlit.synthetic.scene import REACH, draw_objects


def test_a_frame_depends_on_its_seed_and_number_alone():
    together, alone = draw_objects(7, range(10)), draw_objects(7, range(4, 5))
    for all_frames, one in zip(together, alone, strict=True):
        np.testing.assert_array_equal(all_frames[4:5], one)
    assert not np.array_equal(draw_objects(8, range(10)).center, together.center)


def test_rotations_are_proper_and_uniform():
    rotation = draw_objects(0, range(2000)).rotation[:, 0]
    np.testing.assert_allclose(
        rotation @ rotation.transpose(0, 2, 1), np.broadcast_to(np.eye(3), rotation.shape), atol=1e-12
    )
    np.testing.assert_allclose(np.linalg.det(rotation), 1)
    np.testing.assert_allclose(rotation.mean(0), 0, atol=0.06)  # 4.6 standard errors: each entry has variance 1/3


def test_centers_fill_the_volume_so_that_a_constant_predictor_scores_100_over_12():
    center = draw_objects(0, range(2000)).center
    assert np.abs(center).max() <= REACH
    np.testing.assert_allclose(center.var(axis=(0, 1)), 100 / 12, rtol=0.1)
