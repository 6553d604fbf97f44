import numpy as np
import pytest
import torch
from PIL import Image

from fusionlit.data.replicator.samples import SampleSize, find_samples, frame_source, read_sample
from fusionlit.errors import DataError

SIZE = SampleSize((64, 64), (64, 64))


def test_samples_are_sorted_by_frame_and_then_by_label(shape_root):
    frames, samples, orphans = find_samples([shape_root / "cubes", shape_root / "spheres"])
    assert frames == [f"{k:04d}" for k in range(20)]
    assert [sample.index for sample in samples] == list(range(40))
    assert [sample.image.parts[-3] for sample in samples[:4]] == ["cubes", "spheres"] * 2
    assert all(sample.image.stem == sample.depth.stem == sample.frame for sample in samples)
    assert not orphans


def test_frames_are_sorted_by_number_whatever_their_width(position_root):
    for folder, suffix in (("rgb", "png"), ("lidar", "npy")):
        (position_root / folder / f"0019.{suffix}").rename(position_root / folder / f"10000.{suffix}")
        (position_root / folder / f"0018.{suffix}").rename(position_root / folder / f"9000.{suffix}")
    frames, _, _ = find_samples([position_root])
    assert frames[-3:] == ["0017", "9000", "10000"]


def test_orphans_are_named_and_change_no_other_index(shape_root):
    (shape_root / "cubes" / "rgb" / "0002.png").unlink()
    (shape_root / "spheres" / "lidar" / "0003.npy").unlink()
    _, samples, orphans = find_samples([shape_root / "cubes", shape_root / "spheres"])
    assert [sample.index for sample in samples] == [k for k in range(40) if k not in (4, 7)]
    assert set(orphans) == {4, 7}
    assert "cubes/lidar/0002.npy: depth without image; " in orphans[4]
    assert "cubes/rgb/0002.png is missing" in orphans[4]
    assert "spheres/rgb/0003.png: image without depth; " in orphans[7]
    assert "spheres/lidar/0003.npy is missing" in orphans[7]


def test_a_frame_that_one_class_lacks_altogether_is_no_orphan_but_said(shape_root):
    (shape_root / "cubes" / "rgb" / "0002.png").unlink()
    (shape_root / "cubes" / "lidar" / "0002.npy").unlink()
    with pytest.warns(UserWarning, match=r"cubes: 1 of 20 frames that other classes have are missing: 0002\."):
        _, samples, orphans = find_samples([shape_root / "cubes", shape_root / "spheres"])
    assert len(samples) == 39
    assert not orphans


def test_a_sample_is_read_as_it_is_packed_or_refused(position_root):
    _, samples, _ = find_samples([position_root])
    values = read_sample(samples[3], SIZE)
    np.testing.assert_array_equal(values["rgb"], np.array(Image.open(samples[3].image)).transpose(2, 0, 1))
    np.testing.assert_array_equal(values["lidar"], np.load(samples[3].depth))
    image = bytearray(samples[4].image.read_bytes())
    image[-20] ^= 1  # in the sum of a chunk, which decoding alone does not look at
    samples[4].image.write_bytes(image)
    np.save(samples[9].depth, np.full((64, 64), np.nan, np.float32))
    for k, message in (
        (4, r"0004\.png: expected a PNG image"),
        (9, r"0009\.npy: expected finite distances, but 4096"),
    ):
        with pytest.raises(DataError, match=message):
            read_sample(samples[k], SIZE)


def test_only_the_files_of_frames_are_looked_at_when_packed_data_is_verified(position_root):
    def look():
        frames, samples, _ = find_samples([position_root])
        return frame_source(position_root, [position_root], len(frames), samples, SIZE).look()

    first = look()
    assert len(first) == 40
    (position_root / "rgb" / "notes.txt").write_text("mine")
    (position_root / "positions.csv").touch()
    np.testing.assert_array_equal(look(), first)
    (position_root / "rgb" / "0003.png").unlink()
    assert len(np.setdiff1d(first, look())) == 1


def test_a_sample_travels_as_small_raw_values(rendered):
    from fusionlit.data import ReplicatorDataModule

    data = ReplicatorDataModule(rendered / "shape")
    data.setup("fit")
    item = data.dataset("train")[0]
    assert {name: (x.dtype, tuple(x.shape)) for name, x in item["inputs"].items()} == {
        "rgb": (torch.uint8, (4, 64, 64)),
        "lidar": (torch.float32, (64, 64)),
    }
