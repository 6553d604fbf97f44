"""The samples of a replicator data set: image and depth file paired by frame, all checked once, read one by one."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypedDict

from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.utils.data import Dataset

from fusionlit.data.progress import progress
from fusionlit.data.replicator_files import read_depth, read_image, verify_image
from fusionlit.data.replicator_folders import frames_of
from fusionlit.errors import DataError

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


class Item(TypedDict):
    """What travels for one sample: uint8 RGBA `(4, H, W)`, raw distances `(H, W)`, the target and the index."""

    inputs: dict[str, Tensor]
    target: Tensor
    index: int


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


def check_samples(samples: Sequence[Sample], size: SampleSize) -> Bad:
    """Read every file once, so that nothing breaks in the third hour of a training."""

    def check(sample: Sample) -> str | None:
        try:
            verify_image(sample.image)
            read_image(sample.image, size.image)
            read_depth(sample.depth, size.depth)
        except DataError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        reasons = progress(pool.map(check, samples), "checking samples", len(samples))
        return {sample.index: reason for sample, reason in zip(samples, reasons, strict=True) if reason}


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


class ReplicatorDataset(Dataset[Item]):
    """Samples as they travel: small raw values, made floats on the device by the data module.

    Args:
        samples: The samples of one split.
        targets: `(N,)` labels or `(N, 9)` positions, in the order of the samples.
        size: Expected sizes.
    """

    def __init__(self, samples: Sequence[Sample], targets: Tensor, size: SampleSize) -> None:
        self.samples = list(samples)
        self.targets = targets
        self.size = size

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, item: int) -> Item:
        sample = self.samples[item]
        rgb, lidar = read_image(sample.image, self.size.image), read_depth(sample.depth, self.size.depth)
        return {"inputs": {"rgb": rgb, "lidar": lidar}, "target": self.targets[item], "index": sample.index}


def _natural(frame: str) -> tuple[bool, int, str]:
    """Sort key: numbers by value, whatever their width, then other names."""
    return (False, int(frame), frame) if frame.isdecimal() else (True, 0, frame)


def _listed(reasons: list[str], most: int) -> str:
    more = [f"... and {len(reasons) - most} more"] if len(reasons) > most else []
    return "\n".join(f"  {line}" for line in reasons[:most] + more)
