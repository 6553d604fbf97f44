"""The samples of a replicator data set: pairs an image and a depth file per frame, and reads them for packing."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from lightning.pytorch.utilities import rank_zero_warn
from numpy.typing import NDArray

from fusionlit.data.replicator.files import read_depth, read_image, verify_image
from fusionlit.data.replicator.folders import frames_of
from fusionlit.errors import DataError
from fusionlit.storage.pack import Column, Contents, Source, fingerprint, in_folders

Bad = dict[int, str]
"""What is wrong with each unusable sample, by its index."""


@dataclass(frozen=True, slots=True)
class Sample:
    """An image with its depth file.

    Args:
        index: Stable id in the whole data set, `position of the frame * number of folders + label`; the position counts
            all frames, including unusable ones, so that leaving out a sample does not change other ids.
        frame: Stem of both file names.
        image: PNG file.
        depth: NPY file.
    """

    index: int
    frame: str
    image: Path
    depth: Path


class SampleSize(NamedTuple):
    """Expected `(H, W)` of every image and of every depth file."""

    image: tuple[int, int]
    depth: tuple[int, int]


def find_samples(folders: Sequence[Path]) -> tuple[list[str], list[Sample], Bad]:
    """Pair the files of all folders by frame.

    Returns:
        All frames, numbers in numerical order; the samples, sorted by frame and then by label, so that twins are next
        to each other and even unshuffled batches contain every class; and the files without a partner.
    """
    listings = [frames_of(folder) for folder in folders]
    frames = sorted({frame for pair in listings for files in pair for frame in files}, key=_natural)
    samples, orphans = [], {}
    for folder, (images, depths) in zip(folders, listings, strict=True):
        if gone := [frame for frame in frames if frame not in images and frame not in depths]:
            some = ", ".join(gone[:10]) + (", ..." if len(gone) > 10 else "")
            rank_zero_warn(
                f"{folder}: {len(gone)} of {len(frames)} frames that other classes have are missing: {some}."
            )
    for position, frame in enumerate(frames):
        for label, (folder, (images, depths)) in enumerate(zip(folders, listings, strict=True)):
            index, image, depth = position * len(folders) + label, images.get(frame), depths.get(frame)
            if image and depth:
                samples.append(Sample(index, frame, image, depth))
            elif image:
                orphans[index] = f"{image}: image without depth; {folder / 'lidar' / frame}.npy is missing."
            elif depth:
                orphans[index] = f"{depth}: depth without image; {folder / 'rgb' / frame}.png is missing."
    return frames, samples, orphans


def read_sample(sample: Sample, size: SampleSize) -> dict[str, NDArray[Any]]:
    """Packed values of a sample: `rgb` (4, H, W) uint8 and `lidar` (H, W) float32.

    Raises:
        DataError: If one of its files is unusable.
    """
    verify_image(sample.image)
    return {"rgb": read_image(sample.image, size.image).numpy(), "lidar": read_depth(sample.depth, size.depth).numpy()}


def frame_source(
    root: Path, folders: Sequence[Path], frames: int, samples: Sequence[Sample], size: SampleSize
) -> Source:
    """Source of the pack: one row per index; rows without a sample stay empty.

    Args:
        root: Folder of the data set.
        folders: Class folders, or `root` itself.
        frames: Number of frames, complete or not.
        samples: Samples, in the order of their index.
        size: Expected sizes.
    """
    length = frames * len(folders)
    columns = {"rgb": Column("|u1", (length, 4, *size.image)), "lidar": Column("<f4", (length, *size.depth))}
    by_index = {sample.index: sample for sample in samples}
    listed = [(folder / kind, ending) for folder in folders for kind, ending in (("rgb", ".png"), ("lidar", ".npy"))]
    return Source(
        root,
        recipe=repr(columns),  # includes the depth size, which follows from the angle files, which are not packed
        look=lambda: fingerprint(in_folders(root, listed)),
        contents=lambda: Contents(columns, list(by_index), lambda index: read_sample(by_index[index], size)),
    )


def report_bad(root: Path, bad: Bad, good: int, skip: bool) -> None:
    """Raise DataError for bad samples, or warn that they are left out; the message lists them.

    Args:
        root: Folder of the data set.
        bad: What is wrong with each unusable sample.
        good: Number of usable samples.
        skip: Whether to leave out unusable samples.

    Raises:
        DataError: If there are unusable samples and `skip` is false, or no usable sample is left.
    """
    if good and not bad:
        return
    count = f"{len(bad)} of {good + len(bad)} samples"
    reasons = [bad[index] for index in sorted(bad)]
    if skip and good:
        rank_zero_warn(f"{root}: left out {count} that are unusable (all are in `excluded`):\n{_listed(reasons, 100)}")
        return
    remedy = "leave them out with `on_bad_sample: skip`" if good else "choose another `root`: none are usable"
    raise DataError(
        f"{root}: {count} are unusable:\n{_listed(reasons, 10)}\nRestore or remove these files, or {remedy}."
    )


def _natural(frame: str) -> tuple[bool, int, str]:
    """Sort key: numbers by value, regardless of leading zeros, then other names."""
    return (False, int(frame), frame) if frame.isdecimal() else (True, 0, frame)


def _listed(reasons: list[str], most: int) -> str:
    more = [f"... and {len(reasons) - most} more"] if len(reasons) > most else []
    return "\n".join(f"  {line}" for line in reasons[:most] + more)
