"""Small copies of the formats that the readers know."""

from pathlib import Path

import numpy as np
import pytest

CHANNELS = [f"{sensor}_{axis}" for sensor in ("body_acc", "body_gyro", "total_acc") for axis in "xyz"]
SUBJECTS = {"train": (1, 3, 5, 7), "test": (2, 4)}


def write_uci_har(root: Path, windows: int = 2, length: int = 128) -> dict[str, np.ndarray]:
    """The official folder with six subjects and `windows` windows of each activity; returns what was written."""
    rng = np.random.default_rng(0)
    subject = np.concatenate([np.repeat(ids, 6 * windows) for ids in SUBJECTS.values()])
    label = np.tile(np.repeat(np.arange(1, 7), windows), len(subject) // (6 * windows))
    x = rng.normal(size=(len(label), len(CHANNELS), length)).astype(np.float32) + label[:, None, None]
    for side, ids in SUBJECTS.items():
        rows = np.isin(subject, ids)
        signals = root / side / "Inertial Signals"
        signals.mkdir(parents=True)
        for i, channel in enumerate(CHANNELS):
            np.savetxt(signals / f"{channel}_{side}.txt", x[rows, i], fmt="% .7e")
        np.savetxt(root / side / f"y_{side}.txt", label[rows], fmt="%d")
        np.savetxt(root / side / f"subject_{side}.txt", subject[rows], fmt="%d")
    return {"x": x, "label": label, "subject": subject}


@pytest.fixture
def uci_har(tmp_path):
    """Folder and contents of a small UCI HAR."""
    return tmp_path / "uci", write_uci_har(tmp_path / "uci", length=16)
