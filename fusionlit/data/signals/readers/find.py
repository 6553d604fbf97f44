"""Choice of the reader for a folder or file."""

from pathlib import Path

from fusionlit.data.signals.readers.base import SignalReader
from fusionlit.data.signals.readers.csv import CSVReader
from fusionlit.data.signals.readers.npz import NPZReader
from fusionlit.data.signals.readers.ts import TSReader
from fusionlit.data.signals.readers.uci_har import UCIHARReader
from fusionlit.data.signals.windowing.config import Windowing
from fusionlit.errors import ConfigError, DataError

EXPECTED = (
    "the folder of UCI HAR (with train/Inertial Signals/), a .ts file or a folder with NAME_TRAIN.ts and NAME_TEST.ts,"
    " an .npz file, a .csv file or a folder of .csv files"
)


def find_reader(root: Path, windowing: Windowing | None = None) -> SignalReader:
    """The reader for a folder or file.

    Raises:
        DataError: If `root` does not exist, or has an unknown format.
        ConfigError: If `windowing` is missing for recordings, or given for data that is already cut into windows.
    """
    reader = _find_reader(root, windowing)
    if windowing is not None and not isinstance(reader, CSVReader):
        raise ConfigError(
            f"Expected `windowing` only for recordings in CSV files, but {root} already contains windows: leave it out."
        )
    return reader


def _find_reader(root: Path, windowing: Windowing | None) -> SignalReader:
    if not root.exists():
        raise DataError(f"{root}: does not exist. Point `root` to {EXPECTED}.")
    if (root / "train" / "Inertial Signals").is_dir():
        return UCIHARReader()
    if root.suffix == ".npz":
        return NPZReader()
    if root.suffix == ".ts" or any(root.glob("*.ts")):
        return TSReader()
    if root.suffix.lower() == ".csv" or any(path.suffix.lower() == ".csv" for path in root.glob("*")):
        if windowing is None:
            raise ConfigError(f"Expected `windowing` to cut the recordings in {root} into windows, but got none.")
        return CSVReader(windowing)
    inside = next(
        (folder for folder in sorted(root.glob("*/")) if (folder / "train" / "Inertial Signals").is_dir()), None
    )
    hint = f" Point `root` to {inside}." if inside else ""
    found = ", ".join(sorted(path.name for path in root.glob("*"))[:10]) or "nothing" if root.is_dir() else "a file"
    raise DataError(f"{root}: expected {EXPECTED}, but found {found}.{hint}")
