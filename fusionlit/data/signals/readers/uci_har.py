"""Reader of the official folder of UCI HAR: smartphone at the waist, six activities, thirty people."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fusionlit.console import progress
from fusionlit.data.labels import encode
from fusionlit.data.signals.readers.base import ChannelGroups, Origin, SignalReader, channels_of
from fusionlit.data.signals.readers.text import first_row, read_matrix
from fusionlit.data.signals.windows import Channel, Floats, Grid, Header, Windows
from fusionlit.errors import DataError

UNITS = {"body_acc": "g", "body_gyro": "rad/s", "total_acc": "g"}
CHANNELS = {f"{sensor}_{axis}": unit for sensor, unit in UNITS.items() for axis in "xyz"}
RATE = 50.0
"""Samples per second (Hz)."""
ACTIVITIES = ("WALKING", "WALKING_UPSTAIRS", "WALKING_DOWNSTAIRS", "SITTING", "STANDING", "LAYING")
SIDES = ("train", "test")


class UCIHARReader(SignalReader):
    """`{train,test}/Inertial Signals/<channel>_{train,test}.txt`, with `{train,test}/y_*.txt` and `subject_*.txt`.

    Nine channels: body acceleration (g), body angular velocity (rad/s), total acceleration (g), three axes each, in
    windows of 128 samples at 50 Hz; consecutive windows share half of their samples. Labels from 1 become labels from
    0; class names come from `activity_labels.txt`, or are the six standard ones. A group is a subject; the official
    split is by subject. The header is read from the first line of each training file.

    Source: Anguita et al., "A public domain dataset for human activity recognition using smartphones", ESANN 2013.
    """

    def header(self, root: Path, modalities: ChannelGroups | None = None) -> Header:
        """Channels from the first lines of their files."""
        missing = [str(_file(root, "train", name)) for name in CHANNELS if not _file(root, "train", name).is_file()]
        if missing:
            raise DataError(
                f"{root}: expected the nine signal files of UCI HAR, but these are missing: {', '.join(missing)}."
                " Copy them from the original."
            )
        grids = {name: Grid(len(first_row(_file(root, "train", name))), RATE, unit) for name, unit in CHANNELS.items()}
        return Header(grids, read_activities(root))

    def read(self, root: Path, modalities: ChannelGroups | None = None) -> Windows:
        """All windows, training first."""
        activities = read_activities(root)
        target, group, official = [], [], []
        for side in SIDES:
            labels = _column(root / side / f"y_{side}.txt", 1, len(activities))
            subjects = _column(root / side / f"subject_{side}.txt", 1)
            if len(labels) != len(subjects):
                raise DataError(
                    f"{root / side}: y_{side}.txt has {len(labels)} lines, but subject_{side}.txt has {len(subjects)}."
                    " Copy both from the original."
                )
            target.append(labels)
            group += [str(subject) for subject in subjects]
            official += [side] * len(labels)
        codes, classes = encode(np.concatenate(target), f"{root}: y_train.txt and y_test.txt", activities)
        windows = [len(labels) for labels in target]
        wanted = (
            list(CHANNELS) if modalities is None else [name for name in CHANNELS if name in channels_of(modalities)]
        )
        names = progress(wanted, f"reading {root.name}")
        return Windows(
            {name: Channel(_signal(root, name, windows), RATE, CHANNELS[name]) for name in names},
            codes,
            classes,
            np.array(group),
            np.array(official),
            overlapping=True,
        )

    def origin(self, root: Path) -> Origin:
        """Signals, labels and subjects of training and test, and the names of the activities."""
        files = [root / side / f"{kind}_{side}.txt" for side in SIDES for kind in ("y", "subject")]
        signals = [_file(root, side, name) for side in SIDES for name in CHANNELS]
        return Origin([*files, *signals, root / "activity_labels.txt"])


def read_activities(root: Path) -> tuple[str, ...]:
    """Names in `activity_labels.txt` (`1 WALKING`), or the standard ones if there is no such file.

    Raises:
        DataError: If a line is not the next number and a name.
    """
    path = root / "activity_labels.txt"
    if not path.is_file():
        return ACTIVITIES
    names: list[str] = []
    for line in filter(str.strip, path.read_text(encoding="utf-8").splitlines()):
        number, _, name = line.strip().partition(" ")
        if number != str(len(names) + 1) or not name.strip():
            raise DataError(
                f"{path}: expected lines of a number, counted from 1, and a name, such as '1 WALKING', but got"
                f" {line.strip()!r}."
            )
        names.append(name.strip())
    return tuple(names)


def _file(root: Path, side: str, channel: str) -> Path:
    return root / side / "Inertial Signals" / f"{channel}_{side}.txt"


def _column(path: Path, low: int, high: int | None = None) -> NDArray[np.int64]:
    """Whole numbers, one per line, from `low` to `high`."""
    values = read_matrix(path)
    if values.shape[1] != 1:
        raise DataError(f"{path}: expected one number per line, but got {values.shape[1]}.")
    column = values[:, 0]
    wrong = ~np.isfinite(column) | (column % 1 != 0) | (column < low) | (column > (np.inf if high is None else high))
    if wrong.any():
        limits = f"from {low} to {high}" if high else f"from {low}"
        at = int(wrong.argmax())
        raise DataError(f"{path}: expected whole numbers {limits}, but number {at + 1} is {column[at]:g}.")
    return column.astype(np.int64)


def _signal(root: Path, name: str, windows: list[int]) -> Floats:
    """Values of a channel, `(n, 128)`."""
    halves: list[Floats] = []
    for side, expected in zip(SIDES, windows, strict=True):
        path = _file(root, side, name)
        values = read_matrix(path)
        if len(values) != expected:
            raise DataError(
                f"{path}: expected {expected} windows, one line per label in y_{side}.txt, but got {len(values)}."
                " Copy both from the original."
            )
        if halves and halves[0].shape[1] != values.shape[1]:
            raise DataError(
                f"{path}: expected windows of {halves[0].shape[1]} samples, as in training, but got {values.shape[1]}."
            )
        halves.append(values)
    return np.concatenate(halves)
