import random
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from fusionlit.data.replicator.files import image_size, read_depth, read_image, verify_image
from fusionlit.errors import DataError

SIZE = (64, 64)


@pytest.fixture
def png(shape_root):
    return shape_root / "cubes" / "rgb" / "0003.png"


@pytest.fixture
def npy(shape_root):
    return shape_root / "cubes" / "lidar" / "0003.npy"


def test_an_image_is_what_pillow_reads_with_channels_first(png):
    image = read_image(png, SIZE)
    assert (image.dtype, image.shape) == (torch.uint8, (4, 64, 64))
    np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), np.array(Image.open(png)))


def test_rgb_without_alpha_gets_full_alpha(png):
    expected = read_image(png, SIZE)
    Image.open(png).convert("RGB").save(png)
    assert torch.equal(read_image(png, SIZE), expected)


def test_a_truncated_image_is_named(png):
    png.write_bytes(png.read_bytes()[:200])
    with pytest.raises(DataError, match=r"0003\.png: expected a PNG image, but it is unreadable or truncated"):
        read_image(png, SIZE)


@pytest.mark.parametrize("content", [b"", b"no picture at all, but long enough for a header"])
def test_a_file_that_is_no_image_is_named(png, content):
    png.write_bytes(content)
    with pytest.raises(DataError, match=rf"0003\.png: .* unreadable \(no PNG header in {len(content)} bytes\)"):
        read_image(png, SIZE)


def test_an_image_of_another_size_is_refused_before_it_is_decoded(png):
    Image.new("RGBA", (32, 16)).save(png)
    with pytest.raises(DataError, match=r"size \(64, 64\) \(height, width\), but got .* size \(16, 32\)"):
        read_image(png, SIZE)


@pytest.mark.parametrize("mode", ["L", "P", "I;16"])
def test_gray_palette_and_16_bit_images_are_refused(png, mode):
    Image.new(mode, (64, 64)).save(png)
    with pytest.raises(DataError, match="expected RGBA or RGB with 8 bits"):
        read_image(png, SIZE)


def test_a_missing_image_is_named(png):
    png.unlink()
    with pytest.raises(DataError, match=r"0003\.png: expected a PNG image, but it is unreadable"):
        read_image(png, SIZE)


def test_the_size_comes_from_the_first_readable_header(shape_root):
    (shape_root / "cubes" / "rgb" / "0000.png").write_bytes(b"")
    (shape_root / "cubes" / "rgb" / "-001.png").symlink_to("nowhere.png")
    assert image_size(shape_root / "cubes") == SIZE
    for path in (shape_root / "spheres" / "rgb").glob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"rgb: expected PNG images, but none can be read"):
        image_size(shape_root / "spheres")


def test_depth_is_what_numpy_reads(npy):
    np.testing.assert_array_equal(read_depth(npy, SIZE).numpy(), np.load(npy))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((64, 63), np.float32), r"expected float32 of shape \(64, 64\), but got float32 of shape \(64, 63\)"),
        (np.zeros((64, 64)), r"expected float32 of shape \(64, 64\), but got float64 of shape \(64, 64\)"),
        (np.zeros((64, 64), np.int32), "but got int32"),
        (np.full((64, 64), np.nan, np.float32), "expected finite distances, but 4096 are NaN or infinite"),
        (np.full((64, 64), np.inf, np.float32), "expected finite distances, but 4096 are NaN or infinite"),
        (np.full((64, 64), -1.5, np.float32), "expected distances >= 0, but the smallest is -1.5"),
        (
            np.full((64, 64), None),
            r"expected a plain NPY array, but .* \(Object arrays cannot be loaded",
        ),
    ],
)
def test_depth_that_is_not_depth_is_named(npy, array, message):
    np.save(npy, array)
    with pytest.raises(DataError, match=rf"0003\.npy: .*{message}"):
        read_depth(npy, SIZE)


def test_an_archive_and_a_truncated_file_are_no_arrays(npy):
    with npy.open("wb") as file:
        np.savez(file, depth=np.zeros((64, 64), np.float32))
    with pytest.raises(DataError, match=r"0003\.npy: expected a plain NPY array, but got an archive"):
        read_depth(npy, SIZE)
    np.save(npy, np.zeros((64, 64), np.float32))
    npy.write_bytes(npy.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"0003\.npy: expected a plain NPY array, but it cannot be read"):
        read_depth(npy, SIZE)


def test_whatever_damage_an_image_takes_it_is_refused_or_harmless(png):
    """A thousand damaged copies: never another error, a warning, or other pixels."""
    original, expected = png.read_bytes(), read_image(png, SIZE)
    rng, refused = random.Random(0), 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(1000):
            damaged = bytearray(original)
            at = rng.randrange(len(damaged))
            damage = rng.choice(["flip", "cut", "hole"])
            if damage == "flip":
                damaged[at] ^= 1 << rng.randrange(8)
            else:
                del damaged[at : None if damage == "cut" else at + rng.randrange(1, 50)]
            png.write_bytes(damaged)
            try:
                verify_image(png)
                assert torch.equal(read_image(png, SIZE), expected)
            except DataError:
                refused += 1
    assert refused > 900
