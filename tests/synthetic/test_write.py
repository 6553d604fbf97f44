import csv
import hashlib
import shutil

import numpy as np
import pytest
from PIL import Image

from fusionlit.data import ReplicatorDataModule
from fusionlit.errors import ConfigError, DataError
from fusionlit.synthetic import render, write
from fusionlit.synthetic.scene import HALF_SIZE


def fingerprint(root):
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_the_shape_layout_is_the_format_of_the_course(rendered):
    names = {f"{k:04d}" for k in range(20)}
    for folder in (rendered / "shape" / name for name in ("cubes", "spheres")):
        assert {p.name for p in (folder / "rgb").iterdir()} == {f"{n}.png" for n in names}
        assert {p.name for p in (folder / "lidar").iterdir()} == {f"{n}.npy" for n in names}
        for angle in ("azimuth", "zenith"):
            stored = np.load(folder / f"{angle}.npy")
            np.testing.assert_allclose(stored, np.deg2rad((np.arange(64) - 32) * 0.5), rtol=1e-6)
            assert stored.dtype == np.float32
        image, depth = Image.open(folder / "rgb" / "0007.png"), np.load(folder / "lidar" / "0007.npy")
        pixels = np.array(image)
        assert (image.mode, image.size, image.format) == ("RGBA", (64, 64), "PNG")
        assert (pixels[..., 3] == 255).all()
        assert (pixels[0, 0, :3] == 0).all()
        assert (depth.shape, depth.dtype, depth.max()) == ((64, 64), np.float32, 50.0)


def test_the_position_layout_has_a_row_of_nine_named_columns_per_frame(rendered):
    rows = list(csv.reader((rendered / "position" / "positions.csv").read_text().splitlines()))
    assert rows[0] == [f"{color}_{axis}" for color in ("red", "green", "blue") for axis in "xyz"]
    values = np.array(rows[1:], dtype=float)
    assert values.shape == (20, 9)
    assert np.abs(values).max() <= 5
    assert len(list((rendered / "position").glob("rgb/*.png"))) == len(
        list((rendered / "position").glob("lidar/*.npy"))
    )


def test_the_columns_say_where_the_cube_of_that_color_is_in_the_picture(rendered):
    values = np.loadtxt(rendered / "position" / "positions.csv", delimiter=",", skiprows=1).reshape(-1, 3, 3)
    right = np.arange(64) + 0.5 - 32
    for channel in range(3):
        seen, expected = [], []
        for k in range(len(values)):
            mask = np.array(Image.open(rendered / "position" / "rgb" / f"{k:04d}.png"))[..., channel] > 0
            if mask.sum() > 20:
                x, y, z = values[k, channel]
                seen.append([(mask.sum(0) * right).sum() / mask.sum(), (mask.sum(1) * -right).sum() / mask.sum()])
                expected.append([70 * x / (y + 25), 70 * z / (y + 25)])
        np.testing.assert_allclose(seen, expected, atol=4)  # px; a cube is about 8 px wide


def test_twins_share_place_and_color(rendered):
    for k in range(20):
        cube, sphere = (rendered / "shape" / name for name in ("cubes", "spheres"))
        depths = [np.load(folder / "lidar" / f"{k:04d}.npy") for folder in (cube, sphere)]
        # The sphere fits into its twin: wherever a ray meets the sphere it meets the cube before.
        both = depths[1] < 50
        assert (depths[0][both] <= depths[1][both] + 1e-4).all()
        assert depths[1].min() - depths[0].min() <= (np.sqrt(3) - 1) * HALF_SIZE + 0.1
        hues = []
        for folder in (cube, sphere):
            pixels = np.array(Image.open(folder / "rgb" / f"{k:04d}.png"))[..., :3].reshape(-1, 3).astype(float)
            brightest = pixels[pixels.sum(1).argmax()]
            hues.append(brightest / np.linalg.norm(brightest))
        np.testing.assert_allclose(hues[0], hues[1], atol=0.03)


def test_same_seed_same_bytes_whatever_the_chunks_and_more_frames_change_none(rendered, tmp_path, monkeypatch):
    monkeypatch.setattr(write, "CHUNK", 3)
    render(tmp_path / "again", 23, seed=3)
    again, first = fingerprint(tmp_path / "again"), fingerprint(rendered / "shape")
    assert {name: again[name] for name in first} == first
    assert len(again) == len(first) + 12


def test_another_seed_gives_other_bytes(rendered, tmp_path):
    render(tmp_path / "other", 2, seed=4)
    other, first = fingerprint(tmp_path / "other"), fingerprint(rendered / "shape")
    changed = {name for name, value in other.items() if first[name] != value}
    assert changed == {
        f"{c}/{f}" for c in ("cubes", "spheres") for k in (0, 1) for f in (f"rgb/000{k}.png", f"lidar/000{k}.npy")
    }


def test_refuses_to_write_over_a_data_set_and_names_what_it_found(shape_root):
    before = fingerprint(shape_root)
    with pytest.raises(DataError, match=r"found a data set already \(40 \.png, 44 \.npy files, such as cubes"):
        render(shape_root, 2)
    with pytest.raises(DataError, match="pass --overwrite to replace it"):
        render(shape_root, 2, task="position")
    assert fingerprint(shape_root) == before


def test_overwrite_removes_what_the_format_owns_and_nothing_else(shape_root):
    kept = [shape_root / "notes.txt", shape_root / "split.json", shape_root / "cubes" / "rgb" / "mine.png"]
    for path in kept:
        path.write_text("mine")
    render(shape_root, 1, seed=9, task="position", overwrite=True)
    expected = {str(p.relative_to(shape_root)) for p in kept}
    expected |= {"rgb/0000.png", "lidar/0000.npy", "azimuth.npy", "zenith.npy", "positions.csv"}
    assert set(fingerprint(shape_root)) == expected
    assert all(path.read_text() == "mine" for path in kept)


def test_refuses_class_folders_that_it_never_wrote(shape_root):
    shutil.copytree(shape_root / "cubes", shape_root / "cones")
    with pytest.raises(DataError, match="class folders not written by the renderer: cones"):
        render(shape_root, 1, overwrite=True)
    assert len(list(shape_root.glob("*/rgb/*.png"))) == 60


def test_an_interrupted_rendering_is_never_taken_for_a_data_set(tmp_path, monkeypatch):
    calls = []

    def interrupt(*arguments):
        calls.append(arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(write, "_write_positions", interrupt)
        with pytest.raises(KeyboardInterrupt):
            render(tmp_path / "d", 10, task="position")
    assert calls
    with pytest.raises(
        DataError,
        match=r"rendering was interrupted \(or is still running\).* Finish it with `fusionlit render .* --overwrite`",
    ):
        ReplicatorDataModule(tmp_path / "d", "position")
    with pytest.raises(DataError, match="found a data set already"):
        render(tmp_path / "d", 10, task="position")
    render(tmp_path / "d", 10, task="position", overwrite=True)
    assert ReplicatorDataModule(tmp_path / "d", "position").target.size == 9


@pytest.mark.parametrize(("frames", "seed"), [(0, 0), (5, -1)])
def test_refuses_numbers_out_of_range(tmp_path, frames, seed):
    with pytest.raises(ConfigError, match=f"`frames` >= 1 and `seed` >= 0, but got frames={frames} and seed={seed}"):
        render(tmp_path / "d", frames, seed)
    assert not (tmp_path / "d").exists()


def test_refuses_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "d").write_text("")
    with pytest.raises(DataError, match="expected a folder or nothing, but found a file"):
        render(tmp_path / "d", 1)


def test_another_task_over_an_old_one_leaves_no_empty_folders(tmp_path):
    render(tmp_path, frames=2, task="position")
    render(tmp_path, frames=2, task="shape", overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cubes", "spheres"]
