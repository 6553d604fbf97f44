import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser
from lightning import LightningModule
from PIL import Image
from torch.utils.data import DataLoader

from fusionlit.data import (
    FileSplit,
    FractionSplit,
    FusionDataModule,
    LastFramesSplit,
    ReplicatorDataModule,
    collate,
)
from fusionlit.errors import ConfigError, DataError
from fusionlit.synthetic import render
from fusionlit.types import SPLITS, TargetSpec, shapes_of

CONFIGS = Path(__file__).parents[3] / "configs" / "data"


def ready(root, *arguments, **options):
    data = ReplicatorDataModule(root, *arguments, **options)
    data.setup("fit")
    return data


def everything(data):
    """All samples of all splits by index, converted: `{index: (rgb, lidar, target)}`."""
    found = {}
    for split in SPLITS:
        for batch in DataLoader(data.dataset(split), batch_size=7, collate_fn=collate):
            batch = data.convert(batch)
            for i, index in enumerate(batch["index"].tolist()):
                found[index] = (batch["inputs"]["rgb"][i], batch["inputs"]["lidar"][i], batch["target"][i])
    return found


# What it says about itself


def test_sizes_are_known_before_any_data_is_read(shape_root, position_root):
    for root in (shape_root, position_root):
        for path in sorted(root.rglob("*.png")):
            path.write_bytes(path.read_bytes()[:40])  # the header, and no pixel
    shape = ReplicatorDataModule(shape_root)
    assert shapes_of(shape.modalities) == {"rgb": (4, 64, 64), "lidar": (4, 64, 64)}
    assert shape.target == TargetSpec("multiclass", 2, ("cubes", "spheres"))
    assert ReplicatorDataModule(shape_root, binary=True).target == TargetSpec("binary", 1, ("cubes", "spheres"))
    names = tuple(f"{color}_{axis}" for color in ("red", "green", "blue") for axis in "xyz")
    assert ReplicatorDataModule(position_root, "position").target == TargetSpec("regression", 9, names)


def test_binary_is_for_two_classes(shape_root, position_root):
    shutil.copytree(shape_root / "cubes", shape_root / "cones")
    with pytest.raises(
        ConfigError, match=r"two classes for `binary`, but the data has 3: cones, cubes, spheres\. Leave out"
    ):
        ReplicatorDataModule(shape_root, binary=True)
    with pytest.raises(ConfigError, match="got task 'position'"):
        ReplicatorDataModule(position_root, "position", binary=True)


def test_any_class_folders_become_labels_in_the_order_of_their_names(shape_root):
    shutil.copytree(shape_root / "spheres", shape_root / "cones")
    data = ready(shape_root)
    assert data.target == TargetSpec("multiclass", 3, ("cones", "cubes", "spheres"))
    assert data.class_counts().tolist() == [14, 14, 14]


# What it delivers


@pytest.mark.parametrize("orientation", ["image", "raw"])
def test_every_batch_is_what_the_files_say(rendered, orientation):
    found = everything(ready(rendered / "shape", orientation=orientation))
    assert sorted(found) == list(range(40))
    angles = np.deg2rad((np.arange(64) - 32) * 0.5)
    across, down = np.meshgrid(-angles, -angles, indexing="ij")
    for index, (rgb, lidar, target) in found.items():
        folder = rendered / "shape" / ("cubes", "spheres")[index % 2]
        image = np.array(Image.open(folder / "rgb" / f"{index // 2:04d}.png"))
        d = np.load(folder / "lidar" / f"{index // 2:04d}.npy").astype(float)
        expected = np.stack(
            [d * np.sin(across) * np.cos(down), d * np.cos(across) * np.cos(down), d * np.sin(down), d < 50]
        )
        if orientation == "image":
            expected = expected[:, ::-1].transpose(0, 2, 1)
        np.testing.assert_allclose(rgb, image.transpose(2, 0, 1) / 255, atol=1e-6)
        np.testing.assert_allclose(lidar, expected, atol=1e-4)
        assert target.item() == index % 2


def test_targets_of_the_position_task_are_the_rows_of_the_csv(rendered):
    found = everything(ready(rendered / "position", "position"))
    rows = list(csv.reader((rendered / "position" / "positions.csv").read_text().splitlines()))[1:]
    assert sorted(found) == list(range(20))
    for index, (_, _, target) in found.items():
        assert target.tolist() == pytest.approx([float(cell) for cell in rows[index]], abs=1e-6)


def test_other_sizes_come_from_the_files(shape_root):
    for folder in (shape_root / "cubes", shape_root / "spheres"):
        np.save(folder / "zenith.npy", np.load(folder / "zenith.npy")[::4])
        for path in folder.glob("lidar/*.npy"):
            np.save(path, np.load(path)[:, ::4])
        for path in folder.glob("rgb/*.png"):
            Image.open(path).resize((48, 40)).save(path)
    course = ReplicatorDataModule(shape_root, orientation="raw")
    assert shapes_of(course.modalities) == {"rgb": (4, 40, 48), "lidar": (4, 64, 16)}
    data = ready(shape_root)
    assert shapes_of(data.modalities) == {"rgb": (4, 40, 48), "lidar": (4, 16, 64)}
    rgb, lidar, _ = everything(data)[0]
    assert {"rgb": tuple(rgb.shape), "lidar": tuple(lidar.shape)} == shapes_of(data.modalities)


def test_input_statistics_are_those_of_the_converted_training_split(rendered):
    data = ready(rendered / "shape")
    batch = data.convert(next(iter(DataLoader(data.dataset("train"), batch_size=100, collate_fn=collate))))
    for name, (mean, std) in data.input_statistics().items():
        x = batch["inputs"][name].double()
        torch.testing.assert_close(mean, x.mean((0, 2, 3)).float())
        torch.testing.assert_close(std, x.std((0, 2, 3), correction=0).float(), atol=1e-5, rtol=1e-5)


# Splits


def test_twins_stay_together_and_nothing_is_lost(rendered):
    data = ready(rendered / "shape", split=FractionSplit(0.5, 0.25, 0.25))
    frames = {split: [index // 2 for index in data.dataset(split).rows.tolist()] for split in SPLITS}
    assert {split: len(stems) for split, stems in frames.items()} == {"train": 20, "val": 10, "test": 10}
    assert set(frames["train"]).isdisjoint(frames["val"] + frames["test"])
    assert set(frames["val"]).isdisjoint(frames["test"])
    data.batch_size = 4
    assert [len(batch["index"]) for batch in data.val_dataloader()] == [4, 4, 2]
    assert data.class_counts().tolist() == [10, 10]


def test_a_split_is_written_and_read_back(rendered, tmp_path):
    first = ready(rendered / "shape", split=FractionSplit(seed=5), write_split=tmp_path / "split.json")
    again = ready(rendered / "shape", split=FileSplit(tmp_path / "split.json"))
    for split in SPLITS:
        assert torch.equal(first.dataset(split).rows, again.dataset(split).rows)


def test_the_course_has_no_test_split_and_that_is_said(rendered):
    data = ready(rendered / "shape", split=LastFramesSplit(5))
    assert {index // 2 for index in data.dataset("val").rows.tolist()} == set(range(15, 20))
    with pytest.raises(ConfigError, match=r"The test split has no samples.*`test_on_validation: true`"):
        data.test_dataloader()


def test_overlapping_lists_are_refused(rendered, tmp_path):
    (tmp_path / "split.json").write_text(json.dumps({"train": ["0001", "0002"], "val": ["0002"], "test": []}))
    with pytest.raises(DataError, match="train and val overlap in 1 groups: 0002"):
        ready(rendered / "shape", split=FileSplit(tmp_path / "split.json"))


def test_a_split_of_uneven_classes_is_refused_unless_allowed(shape_root):
    for k in range(14):
        (shape_root / "cubes" / "rgb" / f"{k:04d}.png").unlink()
        (shape_root / "cubes" / "lidar" / f"{k:04d}.npy").unlink()
    split = FractionSplit(0.8, 0.2, 0)
    lacking = pytest.warns(UserWarning, match="cubes: 14 of 20 frames that other classes have are missing: 0000, 0001")
    with lacking, pytest.raises(DataError, match=r"split is not balanced: cubes \d, spheres \d+ samples"):
        ready(shape_root, split=split)
    with lacking:
        assert ready(shape_root, split=split, max_class_ratio=20).class_counts().sum() == 21


def test_frames_with_their_twins_have_no_stratum_and_frames_of_one_class_have_its_label(shape_root, seen_groups):
    for folder, stem in (("cubes", "0003"), ("spheres", "0007")):
        (shape_root / folder / "rgb" / f"{stem}.png").unlink()
        (shape_root / folder / "lidar" / f"{stem}.npy").unlink()
    with pytest.warns(UserWarning, match="1 of 20 frames that other classes have are missing"):
        ready(shape_root, split=(split := seen_groups()))
    strata = {frame: group.stratum for frame, group in split.groups.items() if group.stratum is not None}
    assert strata == {"0003": 1, "0007": 0}


def test_a_class_does_not_vanish_because_its_folders_are_misspelled(shape_root):
    (shape_root / "cones" / "RGB").mkdir(parents=True)
    with pytest.raises(DataError, match=r"expected rgb/ and lidar/ in lower case, but found cones/RGB\. Rename"):
        ReplicatorDataModule(shape_root)


def test_one_image_of_another_size_does_not_condemn_the_others(shape_root):
    Image.new("RGBA", (32, 32)).save(shape_root / "cubes" / "rgb" / "0000.png")
    with pytest.warns(UserWarning, match="left out 1 of 40 samples"):
        assert len(ready(shape_root, on_bad_sample="skip").excluded) == 1


def test_a_frozen_split_is_not_overwritten(rendered, tmp_path):
    path = tmp_path / "new" / "split.json"
    ready(rendered / "shape", split=FractionSplit(seed=5), write_split=path)
    ready(rendered / "shape", split=FractionSplit(seed=5), write_split=path)
    with pytest.raises(DataError, match="contains another split"):
        ready(rendered / "shape", split=FractionSplit(seed=6), write_split=path)


def test_data_that_has_not_been_read_says_so(rendered):
    with pytest.raises(ConfigError, match="call `setup` first"):
        ReplicatorDataModule(rendered / "shape").train_dataloader()


# Bad samples


def break_image(root):
    path = root / "rgb" / "0005.png"
    path.write_bytes(path.read_bytes()[:150])


def break_depth(root):
    np.save(root / "lidar" / "0005.npy", np.full((64, 64), np.nan, np.float32))


def pickle_depth(root):
    np.save(root / "lidar" / "0005.npy", np.full((64, 64), None))


def lose_image(root):
    (root / "rgb" / "0005.png").unlink()


def lose_depth(root):
    (root / "lidar" / "0005.npy").unlink()


def break_row(root):
    path = root / "positions.csv"
    lines = path.read_text().splitlines()
    lines[6] = lines[6].replace(lines[6].split(",")[0], "left")
    path.write_text("\n".join(lines))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (break_image, r"rgb/0005\.png: expected a PNG image, but it is unreadable or truncated"),
        (break_depth, r"lidar/0005\.npy: expected finite distances"),
        (pickle_depth, r"lidar/0005\.npy: expected a plain NPY array"),
        (lose_image, r"lidar/0005\.npy: depth without image"),
        (lose_depth, r"rgb/0005\.png: image without depth"),
        (break_row, r"positions\.csv, line 7: expected 9 finite numbers, but got 'left,"),
    ],
)
def test_a_bad_sample_is_an_error_or_a_counted_listed_exclusion(position_root, damage, message):
    before = everything(ready(position_root, "position"))
    damage(position_root)
    with pytest.raises(DataError, match=rf"(?s)1 of 20 samples are unusable:.*{message}.*`on_bad_sample: skip`"):
        ready(position_root, "position")
    with pytest.warns(UserWarning, match=rf"(?s)left out 1 of 20 samples that are unusable.*{message}"):
        data = ready(position_root, "position", on_bad_sample="skip")
    assert list(data.excluded) == [5]
    found = everything(data)
    assert sorted(found) == [k for k in range(20) if k != 5]
    for index, (_, _, target) in found.items():  # the others keep their targets
        assert torch.equal(target, before[index][2])


def test_in_a_copy_with_many_orphans_they_are_counted(shape_root):
    for k in range(12):
        for name in ("cubes", "spheres"):
            (shape_root / name / "rgb" / f"{k:04d}.png").unlink()
    with pytest.raises(DataError, match=r"(?s)24 of 40 samples are unusable:.*\.\.\. and 14 more"):
        ready(shape_root)
    with pytest.warns(UserWarning, match=r"left out 24 of 40 samples"):
        data = ready(shape_root, on_bad_sample="skip")
    assert sorted(everything(data)) == list(range(24, 40))


def test_nothing_left_is_an_error_even_when_skipping(position_root):
    for path in position_root.glob("lidar/*.npy"):
        np.save(path, np.full((64, 64), -1, np.float32))
    with pytest.raises(DataError, match=r"(?s)20 of 20 samples are unusable.*choose another `root`"):
        ready(position_root, "position", on_bad_sample="skip")


@pytest.mark.parametrize("on_bad_sample", ["error", "skip"])
def test_what_loses_the_pairing_is_always_an_error(position_root, on_bad_sample):
    lines = (position_root / "positions.csv").read_text().splitlines()
    (position_root / "positions.csv").write_text("\n".join(lines[:-1]))
    with pytest.raises(DataError, match=r"positions\.csv: expected 20 rows below the header.* but got 19"):
        ready(position_root, "position", on_bad_sample=on_bad_sample)
    (position_root / "azimuth.npy").unlink()
    with pytest.raises(DataError, match=r"azimuth\.npy: missing"):
        ReplicatorDataModule(position_root, "position", on_bad_sample=on_bad_sample)


# In a trainer, and in YAML


class Probe(LightningModule):
    """The least model that trains; keeps what reached it."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1))
        self.batches, self.tested = [], []

    def training_step(self, batch):
        self.batches.append(batch)
        return sum(x.mean() for x in batch["inputs"].values()) * self.scale.sum()

    def validation_step(self, batch):
        pass

    def test_step(self, batch):
        self.tested += batch["index"].tolist()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-3)


def test_batches_follow_the_trainers_precision(rendered, make_trainer):
    model = Probe()
    data = ReplicatorDataModule(rendered / "shape", batch_size=8)
    make_trainer(precision="64-true", limit_train_batches=2).fit(model, data)
    assert {x.dtype for batch in model.batches for x in batch["inputs"].values()} == {torch.float64}


def test_every_test_sample_is_seen_once(rendered, make_trainer):
    model, data = Probe(), ReplicatorDataModule(rendered / "shape", batch_size=4)
    make_trainer().test(model, data, verbose=False)
    assert sorted(model.tested) == sorted(data.dataset("test").rows.tolist())


class Sorted(ReplicatorDataModule):
    """Someone's loader that forgot to shuffle, over someone's data set sorted by class."""

    def train_dataloader(self):
        dataset = self.dataset("train")
        order = sorted(range(len(dataset)), key=lambda i: int(dataset[i]["target"]))
        return DataLoader(dataset, batch_size=8, sampler=order, collate_fn=collate)


def test_training_on_single_class_batches_is_stopped(tmp_path, make_trainer):
    render(tmp_path / "data", 60)
    data = Sorted(tmp_path / "data", on_bad_sample="error")
    with pytest.raises(DataError, match=r"but \d in a row \(8 samples each\) contain only one class .*'cubes'"):
        make_trainer().fit(Probe(), data)


@pytest.mark.parametrize("task", ["shape", "position"])
def test_the_shipped_config_makes_a_data_module(rendered, task):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(FusionDataModule, "data")
    config = parser.parse_args([f"--data={CONFIGS / f'replicator_{task}.yaml'}", f"--data.root={rendered / task}"])
    data = parser.instantiate_classes(config).data
    data.setup("fit")
    assert isinstance(data, ReplicatorDataModule)
    assert data.task == task
    assert len(data.dataset("train")) == (28 if task == "shape" else 14)


def test_a_split_is_named_in_short_on_the_command_line(rendered):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(FusionDataModule, "data")
    config = parser.parse_args(
        [
            "--data=ReplicatorDataModule",
            f"--data.root={rendered / 'shape'}",
            "--data.split=LastFramesSplit",
            "--data.split.count=4",
        ]
    )
    assert parser.instantiate_classes(config).data.split.count == 4
