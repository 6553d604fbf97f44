"""The samples of a replicator data set: image and depth file paired by frame, and read to be packed."""

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
    """One image with its depth file.

    Args:
        index: Stable id in the whole data set, `position of the frame * number of folders + label`; the position is
            among all frames found, broken ones too, so that leaving out a sample changes no other's id.
        frame: Stem of both files.
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
        All frames, numbers in numerical order; the samples, sorted by frame and then by label, so that twins stand side
        by side and even unshuffled batches hold every class; and the orphans.
    """
    listings = [frames_of(folder) for folder in folders]
    frames = sorted({frame for pair in listings for files in pair for frame in files}, key=_natural)
    samples, orphans = [], {}
    for folder, (images, depths) in zip(folders, listings, strict=True):
        if gone := [frame for frame in frames if frame not in images and frame not in depths]:
            some = ", ".join(gone[:10]) + (", ..." if len(gone) > 10 else "")
            rank_zero_warn(f"{folder}: lacks {len(gone)} of the {len(frames)} frames that other classes have: {some}.")
    for position, frame in enumerate(frames):
        for label, (folder, (images, depths)) in enumerate(zip(folders, listings, strict=True)):
            index, image, depth = position * len(folders) + label, images.get(frame), depths.get(frame)
            if image and depth:
                samples.append(Sample(index, frame, image, depth))
            elif image:
                orphans[index] = f"{image}: an image without depth; {folder / 'lidar' / frame}.npy is missing."
            elif depth:
                orphans[index] = f"{depth}: depth without an image; {folder / 'rgb' / frame}.png is missing."
    return frames, samples, orphans


def read_sample(sample: Sample, size: SampleSize) -> dict[str, NDArray[Any]]:
    """What is packed of a sample, `rgb` (4, H, W) uint8 and `lidar` (H, W) float32, raw as they travel.

    Raises:
        DataError: If one of its files cannot be used.
    """
    verify_image(sample.image)
    return {"rgb": read_image(sample.image, size.image).numpy(), "lidar": read_depth(sample.depth, size.depth).numpy()}


def frame_source(
    root: Path, folders: Sequence[Path], frames: int, samples: Sequence[Sample], size: SampleSize
) -> Source:
    """The data set as packing sees it: a row for every index, of which those without a sample stay empty.

    Args:
        root: Its folder.
        folders: Of the classes, or `root` itself.
        frames: Number of frames, whole or not.
        samples: In the order of their index.
        size: Expected sizes.
    """
    length = frames * len(folders)
    columns = {"rgb": Column("|u1", (length, 4, *size.image)), "lidar": Column("<f4", (length, *size.depth))}
    by_index = {sample.index: sample for sample in samples}
    listed = [(folder / kind, ending) for folder in folders for kind, ending in (("rgb", ".png"), ("lidar", ".npy"))]
    return Source(
        root,
        recipe=repr(columns),  # the sizes of depth follow from the files of angles, which are not packed
        look=lambda: fingerprint(in_folders(root, listed)),
        contents=lambda: Contents(columns, list(by_index), lambda index: read_sample(by_index[index], size)),
    )


def report_bad(root: Path, bad: Bad, good: int, skip: bool) -> None:
    """Refuse the data set because of its bad samples, or warn that they are left out; either way list them.

    Args:
        root: Folder of the data set.
        bad: What is wrong with each unusable sample.
        good: Number of usable samples.
        skip: Whether they may be left out.

    Raises:
        DataError: If there are bad samples and `skip` is false, or no good one is left.
    """
    if good and not bad:
        return
    count = f"{len(bad)} of {good + len(bad)} samples"
    reasons = [bad[index] for index in sorted(bad)]
    if skip and good:
        rank_zero_warn(f"{root}: left out {count} that cannot be used (`excluded` has all):\n{_listed(reasons, 100)}")
        return
    remedy = "leave them out with `on_bad_sample: skip`" if good else "choose another `root`: none can be used"
    raise DataError(
        f"{root}: {count} cannot be used:\n{_listed(reasons, 10)}\nRestore or remove these files, or {remedy}."
    )


def _natural(frame: str) -> tuple[bool, int, str]:
    """Sort key: numbers by value, whatever their width, then other names."""
    return (False, int(frame), frame) if frame.isdecimal() else (True, 0, frame)


def _listed(reasons: list[str], most: int) -> str:
    more = [f"... and {len(reasons) - most} more"] if len(reasons) > most else []
    return "\n".join(f"  {line}" for line in reasons[:most] + more)
