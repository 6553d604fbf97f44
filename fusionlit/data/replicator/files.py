"""Reading of the image and depth files of the replicator format, with checks for damaged files.

Every message names the file, what was expected and what was found; `report_bad` adds the remedy once for all samples.
"""

import struct
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from statistics import mode
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fusionlit.errors import DataError


class PngHeader(NamedTuple):
    """Header of a PNG file.

    Args:
        size: Height and width (px).
        bits: Bits per channel.
        color_type: 2 is RGB, 6 is RGBA.
    """

    size: tuple[int, int]
    bits: int
    color_type: int


def image_size(folder: Path) -> tuple[int, int]:
    """Most common height and width of the folder's first 16 readable images (any single file may be damaged)."""
    sizes: list[tuple[int, int]] = []
    for path in sorted(folder.glob("rgb/*.png")):
        with suppress(OSError), path.open("rb") as file:  # such as a broken link: reported later as a bad sample
            header = _png_header(file.read(26))
            sizes += [header.size] if header is not None else []
        if len(sizes) == 16:
            break
    if sizes:
        return mode(sizes)
    raise DataError(f"{folder / 'rgb'}: expected PNG images, but none can be read. Copy them again.")


def read_image(path: Path, size: tuple[int, int]) -> Tensor:
    """RGBA image, `(4, H, W)` uint8; RGB files get alpha 255.

    Raises:
        DataError: If the file is not a PNG, is truncated, has another size, or is neither RGBA nor RGB with 8 bits.
    """
    try:
        data = path.read_bytes()
        header = _png_header(data)
        # The header is checked before decoding: a damaged one may request gigabytes.
        fits = header is not None and header.size == size and header.bits == 8 and header.color_type in (2, 6)
        pixels = _decode(data) if fits else None
    except Exception as error:  # a damaged file may raise nearly anything
        raise DataError(f"{path}: expected a PNG image, but it is unreadable or truncated ({error}).") from error
    if header is None:
        raise DataError(f"{path}: expected a PNG image, but it is unreadable (no PNG header in {len(data)} bytes).")
    if pixels is None:
        raise DataError(
            f"{path}: expected RGBA or RGB with 8 bits and size {size} (height, width), but got color type"
            f" {header.color_type} with {header.bits} bits and size {header.size}."
        )
    return torch.from_numpy(pixels).permute(2, 0, 1)


def read_depth(path: Path, shape: tuple[int, int]) -> Tensor:
    """Distances `(H, W)` float32, rows azimuth, columns zenith.

    Raises:
        DataError: If the file is not a plain NPY file, has another shape or type, or contains NaN, infinite or negative
            distances.
    """
    depth = read_npy(path)
    if depth.shape != shape or depth.dtype != np.float32:
        raise DataError(f"{path}: expected float32 of shape {shape}, but got {depth.dtype} of shape {depth.shape}.")
    if not np.isfinite(depth).all():
        raise DataError(f"{path}: expected finite distances, but {(~np.isfinite(depth)).sum()} are NaN or infinite.")
    if (depth < 0).any():
        raise DataError(f"{path}: expected distances >= 0, but the smallest is {depth.min():g}.")
    return torch.from_numpy(depth)


def read_npy(path: Path) -> np.ndarray:
    """The array of an NPY file; pickled objects are rejected, since loading them runs arbitrary code."""
    try:
        array = np.load(path, allow_pickle=False)
    except Exception as error:  # a damaged header may raise nearly anything
        raise DataError(f"{path}: expected a plain NPY array, but it cannot be read ({error}).") from error
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path}: expected a plain NPY array, but got an archive of several arrays.")
    return array


def verify_image(path: Path) -> None:
    """Verify the checksum of every chunk of a PNG file, which decoding alone does not.

    Raises:
        DataError: If a checksum is wrong.
    """
    try:
        with path.open("rb") as file:
            Image.open(file, formats=["PNG"]).verify()
    except Exception as error:  # a damaged file may raise nearly anything
        raise DataError(f"{path}: expected a PNG image, but it is unreadable or truncated ({error}).") from error


def _decode(data: bytes) -> np.ndarray:
    """RGBA pixels `(H, W, 4)`."""
    return np.array(Image.open(BytesIO(data), formats=["PNG"]).convert("RGBA"))


def _png_header(head: bytes) -> PngHeader | None:
    """Header from the first 26 bytes of a PNG file; None if it is not a PNG file."""
    if len(head) < 26 or head[:8] != b"\x89PNG\r\n\x1a\n":
        return None
    width, height, bits, color_type = struct.unpack(">IIBB", head[16:26])
    return PngHeader((height, width), bits, color_type)
