"""What several test files share: a small real data module, and a quiet trainer."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Trainer
from torch.utils.data import Dataset

from fusionlit.data import FusionDataModule
from fusionlit.main import main
from fusionlit.synthetic import render
from fusionlit.types import Shape, Split, TargetSpec

CONFIGS = Path(__file__).parents[1] / "configs"
LONGEST = ("test_notebooks", "test_extending")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first: processes that share the tests then end at about the same time."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


class PlantedSignals(Dataset[dict[str, Any]]):
    """Two-class signals: `strong` carries the class clearly, `noise` not at all."""

    def __init__(self, size: int, seed: int, target: TargetSpec) -> None:
        self.first = 3000 * (seed - 1)  # no two splits share an index
        generator = torch.Generator().manual_seed(seed)
        label = torch.randint(2, (size,), generator=generator)
        wave = torch.linspace(0, 6.28, 16).sin()
        self.inputs = {
            "strong": (2.0 * label - 1)[:, None, None] * wave
            + 0.5 * torch.randn(size, 3, 16, generator=generator)
            + 5.0,
            "noise": torch.randn(size, 3, 16, generator=generator),
        }
        self.target = {
            "multiclass": label,
            "binary": label,
            "multilabel": torch.nn.functional.one_hot(label, 2),
            "regression": torch.stack([label.float(), 1 - label.float()], 1),
        }[target.kind]
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, i: int) -> dict[str, Any]:
        return {"inputs": {k: x[i] for k, x in self.inputs.items()}, "target": self.target[i], "index": self.first + i}


class PlantedData(FusionDataModule):
    """Planted signals as a data module; `presence` adds a mask that lacks `noise` in every third sample."""

    def __init__(self, kind: str = "multiclass", size: int = 64, presence: bool = False, batch_size: int = 16) -> None:
        super().__init__(batch_size)
        self._target = TargetSpec(kind, 1 if kind == "binary" else 2)
        self.size = size
        self.presence = presence

    @property
    def modalities(self) -> dict[str, Shape]:
        return {"strong": (3, 16), "noise": (3, 16)}

    @property
    def target(self) -> TargetSpec:
        return self._target

    def dataset(self, split: Split) -> Dataset[Any]:
        return PlantedSignals(self.size, {"train": 1, "val": 2, "test": 3}[split], self._target)

    def class_counts(self) -> torch.Tensor | None:
        return self.dataset("train").target.bincount() if self._target.kind == "multiclass" else None

    def convert(self, batch):
        batch = super().convert(batch)
        if self.presence:
            there = batch["index"] % 3 != 0
            batch["inputs"]["noise"][~there] = torch.nan
            batch["presence"] = {"strong": torch.ones_like(there), "noise": there}
        return batch


@pytest.fixture(scope="session")
def rendered(tmp_path_factory):
    """One data set of each layout, rendered once; tests copy what they break."""
    root = tmp_path_factory.mktemp("rendered")
    for task in ("shape", "position"):
        render(root / task, 20, seed=3, task=task)
    return root


@pytest.fixture
def shape_root(rendered, tmp_path):
    return shutil.copytree(rendered / "shape", tmp_path / "shape")


@pytest.fixture
def position_root(rendered, tmp_path):
    return shutil.copytree(rendered / "position", tmp_path / "position")


@pytest.fixture
def planted() -> type[PlantedData]:
    return PlantedData


@pytest.fixture
def make_trainer(tmp_path) -> Callable[..., Trainer]:
    def make(**options: Any) -> Trainer:
        defaults = {
            "accelerator": "cpu",
            "max_epochs": 1,
            "default_root_dir": tmp_path,
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
        }
        return Trainer(**{**defaults, **options})

    return make


@pytest.fixture(scope="session")
def shapes(tmp_path_factory) -> Path:
    """A rendered data set of cubes and spheres, small but real."""
    root = tmp_path_factory.mktemp("data") / "shapes"
    render(root, frames=20, seed=0)
    return root


@pytest.fixture(scope="session")
def positions(tmp_path_factory) -> Path:
    """A rendered data set of three cubes and their positions."""
    root = tmp_path_factory.mktemp("data") / "positions"
    render(root, frames=20, seed=0, task="position")
    return root


@pytest.fixture
def fusionlit(tmp_path, monkeypatch) -> Callable[..., None]:
    """The command line, in this process; runs are written below `tmp_path`."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(command: str, *args: str | Path) -> None:
        quiet = ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
        quiet += [f"--trainer.default_root_dir={tmp_path}", "--trainer.accelerator=cpu"]
        main([command, *map(str, args), *(quiet if command in ("fit", "validate", "test", "predict") else [])])

    return run


@pytest.fixture(scope="session")
def fit_args() -> Callable[..., list[str]]:
    """Options of a small CentralNet on the data in a folder, one epoch, that logs to CSV files in another."""

    def make(root: Path, logs: Path, *more: str) -> list[str]:
        files = [f"--data={CONFIGS}/data/replicator_shape.yaml", f"--model={CONFIGS}/model/centralnet.yaml"]
        small = ["--model.encoder.init_args.widths=[4, 8]", "--trainer.max_epochs=1", "--data.batch_size=8"]
        logger = ["--trainer.logger=lightning.pytorch.loggers.CSVLogger", f"--trainer.logger.save_dir={logs}"]
        return [*files, f"--data.root={root}", *small, *logger, "--trainer.log_every_n_steps=1", *more]

    return make


UCI_HAR_CHANNELS = [f"{sensor}_{axis}" for sensor in ("body_acc", "body_gyro", "total_acc") for axis in "xyz"]
SUBJECTS = {"train": (1, 3, 5, 7), "test": (2, 4)}


def _write_uci_har(root: Path, windows: int = 2, length: int = 128) -> dict[str, np.ndarray]:
    """The official folder with six subjects and `windows` windows of each activity; returns what was written."""
    rng = np.random.default_rng(0)
    subject = np.concatenate([np.repeat(ids, 6 * windows) for ids in SUBJECTS.values()])
    label = np.tile(np.repeat(np.arange(1, 7), windows), len(subject) // (6 * windows))
    x = rng.normal(size=(len(label), len(UCI_HAR_CHANNELS), length)).astype(np.float32) + label[:, None, None]
    for side, ids in SUBJECTS.items():
        rows = np.isin(subject, ids)
        signals = root / side / "Inertial Signals"
        signals.mkdir(parents=True)
        for i, channel in enumerate(UCI_HAR_CHANNELS):
            np.savetxt(signals / f"{channel}_{side}.txt", x[rows, i], fmt="% .7e")
        np.savetxt(root / side / f"y_{side}.txt", label[rows], fmt="%d")
        np.savetxt(root / side / f"subject_{side}.txt", subject[rows], fmt="%d")
    return {"x": x, "label": label, "subject": subject}


@pytest.fixture(scope="session")
def write_uci_har() -> Callable[..., dict[str, np.ndarray]]:
    """What writes a small copy of UCI HAR's official folder."""
    return _write_uci_har


@pytest.fixture(scope="session")
def uci_har_folder(tmp_path_factory) -> Path:
    """A small copy of UCI HAR's official folder."""
    root = tmp_path_factory.mktemp("data") / "uci_har"
    _write_uci_har(root)
    return root


@pytest.fixture(scope="session")
def planted_signals(tmp_path_factory) -> Path:
    """Rendered signals whose truth is known."""
    root = tmp_path_factory.mktemp("data") / "planted_signals"
    render(root, frames=20, task="signals")
    return root / "signals.npz"


@pytest.fixture(scope="session")
def joint_signals(tmp_path_factory) -> Path:
    """A folder of rendered signals that two sensors understand together alone."""
    root = tmp_path_factory.mktemp("data") / "joint_signals"
    render(root, frames=20, task="joint_signals")
    return root
