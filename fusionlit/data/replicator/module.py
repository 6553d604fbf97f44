"""RGB and LiDAR frames in the format of NVIDIA's course "Building AI Agents with Multimodal Models"."""

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from fusionlit.data.assignment import GroupSplit
from fusionlit.data.augment import Augmentation
from fusionlit.data.classes import check_split_balance
from fusionlit.data.grouped import GroupedDataModule, SplitRows
from fusionlit.data.replicator.angles import read_angles
from fusionlit.data.replicator.files import image_size
from fusionlit.data.replicator.folders import class_folders, position_folder
from fusionlit.data.replicator.points import Rays
from fusionlit.data.replicator.positions import read_names, read_positions
from fusionlit.data.replicator.samples import Bad, SampleSize, find_samples, frame_source, report_bad
from fusionlit.data.samples import Samples
from fusionlit.data.targets import Targets, class_target, count_classes
from fusionlit.errors import ConfigError, DataError
from fusionlit.storage.pack import Pack, open_or_pack
from fusionlit.types import Batch, ModalitySpec, TargetSpec


class ReplicatorDataModule(GroupedDataModule):
    """RGB images and LiDAR range images of a scene: classify its shape, or locate its three objects.

    Task `shape`: `ROOT/<class>/{rgb/NNNN.png, lidar/NNNN.npy, azimuth.npy, zenith.npy}`, with any class folders; their
    sorted names are the classes. Task `position`: the same in `ROOT` itself, with `positions.csv`. Sizes come from the
    files.

    `rgb` is `(4, H, W)`, RGBA in [0, 1] (RGB files get alpha 1); `lidar` is `(4, H, W)`, x, y, z (scene units) and
    validity, by default in the orientation of the image. The data is split by frame, the same for all classes.

    On first use every file is read, checked and packed as raw arrays (uint8 images and distances); later starts gather
    whole batches from the pack. When a file changes, all are read again. Unusable samples raise an error, or are left
    out and listed.

    Args:
        root: Folder of the data set.
        task: `shape` or `position`.
        split: Assignment of frames to training, validation and test; default: `FractionSplit()`.
        write_split: JSON file to which `setup` writes the frames of each split, for `FileSplit`.
        binary: For two classes, one logit (the second class is positive) instead of one output per class.
        orientation: `image` aligns the LiDAR with the image; `raw` keeps the order of the files (rows azimuth).
        on_bad_sample: `error` raises an error if there are unusable samples; `skip` leaves them out, with a warning
            that lists them, and stores the reasons in `excluded`, by sample index.
        max_class_ratio: Largest accepted ratio between the largest and the smallest class present in a split.
        augmentation: Augmentation of training batches.
        batch_size: Samples per batch, per process.
        num_workers: Worker processes that load data; 0 loads in the main process.
        cache_on_device: Keep the whole data set in device memory.
        pack: Folder for the packed data, in its subfolder `.fusionlit`, for a read-only `root`; default: `root`.

    Raises:
        DataError: If folders, angle files or the header of `positions.csv` are not as expected.
        ConfigError: If `binary` does not fit the task or the number of classes, or `augmentation` does not fit.
    """

    def __init__(
        self,
        root: Path,
        task: Literal["shape", "position"] = "shape",
        split: GroupSplit | None = None,
        write_split: Path | None = None,
        binary: bool = False,
        orientation: Literal["image", "raw"] = "image",
        on_bad_sample: Literal["error", "skip"] = "error",
        max_class_ratio: float = 2.0,
        augmentation: Augmentation | None = None,
        batch_size: int = 32,
        num_workers: int = 0,
        cache_on_device: bool = False,
        pack: Path | None = None,
    ) -> None:
        super().__init__(split, write_split, batch_size, num_workers, augmentation, cache_on_device)
        self.root = Path(root)
        self.task = task
        self.orientation = orientation
        self.on_bad_sample = on_bad_sample
        self.max_class_ratio = max_class_ratio
        self.excluded: Bad = {}
        self._folders = class_folders(self.root) if task == "shape" else [position_folder(self.root)]
        azimuth, zenith = read_angles(self._folders)
        self._rays = Rays(azimuth, zenith, orientation)
        self._size = SampleSize(image_size(self._folders[0]), (len(azimuth), len(zenith)))
        self._target = self._find_target(binary)
        self._beside = pack
        self._prepared: tuple[Samples, Bad] | None = None
        self.check_augmentation()

    @property
    def modalities(self) -> dict[str, ModalitySpec]:
        """`rgb` `(4, H, W)` and `lidar` `(4, H, W)`."""
        return {
            "rgb": ModalitySpec((4, *self._size.image), "image", channels=("red", "green", "blue", "alpha")),
            "lidar": ModalitySpec(self._rays.shape, "points", channels=("x", "y", "z", "valid")),
        }

    @property
    def target(self) -> TargetSpec:
        """Classes named after their folders, or nine coordinates named by the header of `positions.csv`."""
        return self._target

    @property
    def rays(self) -> dict[str, Tensor]:
        """Directions of the rays of `lidar`, in its orientation."""
        return {"lidar": self._rays.directions}

    def pack(self) -> Pack | None:
        """Read and pack all files, unless a pack of the unchanged files exists, and verify the pack.

        Raises:
            DataError: If frames and targets do not match, or the packed data cannot be written.
        """
        self._prepared = self._prepare(contents=True)
        return self._prepared[0].pack

    def samples(self) -> Samples:
        """All usable samples, pairs of an image and a range image.

        Raises:
            DataError: If there are unusable samples and `on_bad_sample` is `error`, or none is usable.
        """
        # With a trainer, one process of this node has already packed and verified the data in `prepare_data`.
        prepared, self._prepared = self._prepared or self._prepare(contents=self.trainer is None), None
        samples, self.excluded = prepared
        report_bad(self.root, self.excluded, len(samples.usable), skip=self.on_bad_sample == "skip")
        return samples

    def check_split(self, samples: Samples, rows: SplitRows) -> SplitRows:
        """Raise DataError unless the splits are balanced: every frame should exist in every class."""
        for split, chosen in rows.items():
            counts = count_classes(samples.targets, torch.from_numpy(chosen))
            if counts is not None:
                check_split_balance(split, counts, self._target.names, self.max_class_ratio)
        return rows

    @property
    def conversion(self) -> str:
        """Digest of the rays and their orientation, since the angles are not packed."""
        return self._rays.digest

    def convert(self, batch: Batch) -> Batch:
        """Convert RGBA to floats in [0, 1], and distances to XYZA in the chosen orientation."""
        rgb, depth = batch["inputs"]["rgb"], batch["inputs"]["lidar"]
        return {**batch, "inputs": {"rgb": rgb.float().mul_(1 / 255), "lidar": self._rays(depth)}}

    def _find_target(self, binary: bool) -> TargetSpec:
        if self.task == "shape":
            return class_target(tuple(folder.name for folder in self._folders), binary)
        if binary:
            raise ConfigError("Expected `binary` only for the shape task, but got task 'position'. Leave out `binary`.")
        names = read_names(self.root / "positions.csv")
        return TargetSpec("regression", len(names), names)

    def _prepare(self, contents: bool) -> tuple[Samples, Bad]:
        """All samples, with the usable ones in `rows`, and what is wrong with the others."""
        frames, found, orphans = find_samples(self._folders)
        targets, bad = self._read_targets(frames)
        pack = open_or_pack(
            frame_source(self.root, self._folders, len(frames), found, self._size), self._beside, contents
        )
        bad = orphans | bad | pack.bad
        rows = np.array([sample.index for sample in found if sample.index not in bad], np.int64)
        groups = [frame for frame in frames for _ in self._folders]
        targeted = Targets(self._target, targets)
        return Samples(pack.arrays, targeted, groups, rows=rows, source=str(self.root), pack=pack), bad

    def _read_targets(self, frames: list[str]) -> tuple[Tensor, Bad]:
        """Target of every sample index, and what is wrong with unusable ones."""
        if self.task == "shape":
            return torch.arange(len(self._folders)).repeat(len(frames)), {}
        numbers = [int(frame) for frame in frames if frame.isdecimal()]
        if len(numbers) == len(frames) and numbers[-1] - numbers[0] >= len(frames):
            missing = sorted(set(range(numbers[0], numbers[-1])) - set(numbers))
            raise DataError(
                f"{self.root}: expected consecutive frames, but {missing[:10]} are missing, so that the rows of"
                " positions.csv cannot be matched to frames. Restore the missing files."
            )
        return read_positions(self.root / "positions.csv", len(frames))
