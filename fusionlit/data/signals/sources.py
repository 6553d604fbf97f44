"""Which reader a folder or file wants."""

from pathlib import Path

from fusionlit.data.signals.npz import NPZReader
from fusionlit.data.signals.reader import Modalities, Origin, SignalReader
from fusionlit.data.signals.recordings import csv_files, read_csv
from fusionlit.data.signals.ts import TSReader
from fusionlit.data.signals.uci_har import UCIHARReader
from fusionlit.data.signals.windowing import Windowing
from fusionlit.data.signals.windows import Windows
from fusionlit.errors import ConfigError, DataError

EXPECTED = (
    "the folder of UCI HAR (with train/Inertial Signals/), a .ts file or a folder with NAME_TRAIN.ts and NAME_TEST.ts,"
    " an .npz file, a .csv file or a folder of .csv files"
)


class CSVReader(SignalReader):
    """Recordings in CSV files, cut into windows. Rates and labels stand in every row, so only the windows tell sizes.

    Args:
        windowing: How windows are cut, and the roles of columns.
    """

    def __init__(self, windowing: Windowing) -> None:
        self.windowing = windowing

    def header(self, root: Path, modalities: Modalities | None = None) -> None:
        """None: the windows tell."""

    def read(self, root: Path, modalities: Modalities | None = None) -> Windows:
        """The windows of all recordings."""
        return read_csv(root, self.windowing, modalities)

    def origin(self, root: Path) -> Origin:
        """The files that there are, and how they are cut."""
        return Origin(csv_files(root), repr(self.windowing))


def find_reader(root: Path, windowing: Windowing | None = None) -> SignalReader:
    """The reader for what `root` is.

    Raises:
        DataError: If `root` is not there or nothing that is known.
        ConfigError: If `windowing` is missing for recordings, or given for windows that are cut already.
    """
    reader = _find_reader(root, windowing)
    if windowing is not None and not isinstance(reader, CSVReader):
        raise ConfigError(
            f"Expected `windowing` only for recordings in CSV files, but {root} holds windows that are cut already:"
            " leave it out."
        )
    return reader


def _find_reader(root: Path, windowing: Windowing | None) -> SignalReader:
    if not root.exists():
        raise DataError(f"{root}: there is no such file or folder. Point `root` to {EXPECTED}.")
    if (root / "train" / "Inertial Signals").is_dir():
        return UCIHARReader()
    if root.suffix == ".npz":
        return NPZReader()
    if root.suffix == ".ts" or any(root.glob("*.ts")):
        return TSReader()
    if root.suffix.lower() == ".csv" or any(path.suffix.lower() == ".csv" for path in root.glob("*")):
        if windowing is None:
            raise ConfigError(f"{root} holds recordings: say in `windowing` how they are cut into windows.")
        return CSVReader(windowing)
    inside = next(
        (folder for folder in sorted(root.glob("*/")) if (folder / "train" / "Inertial Signals").is_dir()), None
    )
    hint = f" Point `root` to {inside}." if inside else ""
    found = ", ".join(sorted(path.name for path in root.glob("*"))[:10]) or "nothing" if root.is_dir() else "a file"
    raise DataError(f"{root}: expected {EXPECTED}, but found {found}.{hint}")
