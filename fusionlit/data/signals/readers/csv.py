"""Reader of long multi-sensor recordings in CSV files: a time column, channels and labels."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fusionlit.data.signals.readers.base import ChannelGroups, Origin, SignalReader
from fusionlit.data.signals.readers.table import Table, read_header, read_table
from fusionlit.data.signals.windowing.config import Columns, Windowing
from fusionlit.data.signals.windowing.cut import cut
from fusionlit.data.signals.windowing.tracks import Doubles, Recording, Track
from fusionlit.data.signals.windows import Windows
from fusionlit.errors import ConfigError, DataError
from fusionlit.types import SPLITS

SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


class CSVReader(SignalReader):
    """Recordings in CSV files, cut into windows; all rows must be read to know sizes and classes.

    Args:
        windowing: How to cut windows, and the roles of columns.
    """

    def __init__(self, windowing: Windowing) -> None:
        self.windowing = windowing

    def header(self, root: Path, modalities: ChannelGroups | None = None) -> None:
        """None: all windows must be read."""

    def read(self, root: Path, modalities: ChannelGroups | None = None) -> Windows:
        """The windows of all recordings."""
        return read_csv(root, self.windowing, modalities)

    def origin(self, root: Path) -> Origin:
        """The CSV files, and the windowing."""
        return Origin(csv_files(root), repr(self.windowing))


@dataclass(frozen=True)
class Layout:
    """Columns that all files of a data set share.

    Args:
        channels: Unit of each channel by name.
        roles: Column name of each role that is present.
    """

    channels: dict[str, str]
    roles: dict[str, str]


def read_csv(root: Path, windowing: Windowing, modalities: Mapping[str, list[str]] | None = None) -> Windows:
    """Windows of the recordings in one CSV file, or in all CSV files of a folder.

    A channel has the time stamps of the rows in which its cell is not empty, so that sensors with different rates can
    share a file. Units come from headers such as `acc_x [g]`.

    Args:
        root: A `.csv` file with one recording, or with several distinguished by the recording column; or a folder of
            such files.
        windowing: How to cut windows, and the roles of columns.
        modalities: Channels to read, by modality; default: all columns without a role.

    Raises:
        DataError: If a file is not as expected, or no window is left.
        ConfigError: If `windowing` does not fit the files.
    """
    root = Path(root)
    paths = csv_files(root)
    layout = _common_layout(paths, windowing.columns, modalities)
    _check_time_unit(paths[0], windowing)
    recordings: list[Recording] = []
    for path in paths:
        texts = [name for role, name in layout.roles.items() if role != "time"]
        table = read_table(path, [windowing.columns.time, *layout.channels], texts)
        recordings += _recordings(table, layout, SECONDS[windowing.time_unit], several_files=len(paths) > 1)
    return cut(root, recordings, windowing, layout.channels, modalities or {})


def csv_files(root: Path) -> list[Path]:
    """`root` itself if it is a file, or the CSV files in it.

    Raises:
        DataError: If there are none.
    """
    if root.is_file():
        return [root]
    paths = sorted(path for path in root.glob("*") if path.suffix.lower() == ".csv")
    if not paths:
        found = "it contains none" if root.is_dir() else "it does not exist"
        raise DataError(f"{root}: expected a CSV file, or a folder of CSV files, but {found}. Correct `root`.")
    return paths


def _common_layout(paths: list[Path], columns: Columns, modalities: Mapping[str, list[str]] | None) -> Layout:
    layout = _layout(paths[0], columns, modalities)
    for path in paths[1:]:
        other = _layout(path, columns, modalities)
        ours, theirs = ({*one.channels, *one.roles.values()} for one in (layout, other))
        if ours != theirs:
            raise DataError(
                f"{path}: expected the columns of {paths[0].name}, but {sorted(ours - theirs)} are missing and"
                f" {sorted(theirs - ours)} are additional. Name only channels of all files in `modalities`, or move the"
                " file away."
            )
        for name, unit in layout.channels.items():
            if other.channels[name] != unit:
                raise DataError(
                    f"{path}: expected channel {name!r} in {unit!r} as in {paths[0].name}, but its header says"
                    f" {other.channels[name]!r}. Convert the channel."
                )
    return layout


def _layout(path: Path, columns: Columns, modalities: Mapping[str, list[str]] | None) -> Layout:
    header = read_header(path)
    named, defaults = asdict(columns), asdict(Columns())
    roles = {role: name for role, name in named.items() if name in header}
    for role, name in named.items():
        if role not in roles and (role in ("time", "label") or name != defaults[role]):
            raise DataError(
                f"{path}: expected a {role} column {name!r}, but the columns are {list(header)}. Set"
                f" `{role}` in `columns` to its name."
            )
    channels = [name for name in header if name not in roles.values()]
    if modalities is not None:
        wanted = list(dict.fromkeys(name for names in modalities.values() for name in names))
        if unknown := [name for name in wanted if name not in channels]:
            raise DataError(f"{path}: expected `modalities` to name channels, {channels}, but got {unknown}.")
        channels = wanted
    if not channels:
        raise DataError(f"{path}: expected at least one channel, but the only columns are {list(header)}.")
    return Layout({name: header[name] for name in channels}, roles)


def _check_time_unit(path: Path, windowing: Windowing) -> None:
    unit = read_header(path)[windowing.columns.time]
    if unit and unit != windowing.time_unit:
        raise ConfigError(
            f"{path}: the unit of the time in the header is {unit!r}, but `time_unit` of Windowing is"
            f" {windowing.time_unit!r}. Correct one of them."
        )


def _recordings(table: Table, layout: Layout, scale: float, *, several_files: bool) -> Iterator[Recording]:
    """The recordings of a file, in the order of their first rows."""
    columns = layout.roles
    clock = table.numbers[columns["time"]]
    if missing := np.flatnonzero(np.isnan(clock)).tolist():
        where = f"{table.path}, line {table.lines[missing[0]]}, column {columns['time']!r}"
        raise DataError(f"{where}: expected a time in every row, but the cell is empty. Remove the row.")
    for name, rows in _rows_of_recordings(table, columns.get("recording")):
        times = (clock[rows] - clock[rows].min()) * scale
        order = np.argsort(times, kind="stable")
        whole = name if not several_files else f"{table.path.stem}/{name}" if name else table.path.stem
        yield Recording(
            name=f"{table.path}, recording {name!r}" if name else str(table.path),
            tracks={channel: _track(table, channel, rows, times) for channel in layout.channels},
            times=times[order],
            labels=table.texts[columns["label"]][rows][order],
            group=_constant(table, columns["group"], rows) if "group" in columns else whole or table.path.stem,
            official=_official(table, columns["split"], rows) if "split" in columns else None,
        )


def _rows_of_recordings(table: Table, column: str | None) -> list[tuple[str, NDArray[np.int64]]]:
    if column is None:
        return [("", np.arange(len(table.lines)))]
    names, first, which = np.unique(table.texts[column], return_index=True, return_inverse=True)
    if names[0] == "":
        where = f"{table.path}, line {table.lines[first[0]]}, column {column!r}"
        raise DataError(f"{where}: expected a recording in every row, but the cell is empty. Fill it in.")
    rows = np.split(np.argsort(which, kind="stable"), np.cumsum(np.bincount(which))[:-1])
    return [(str(names[k]), rows[k]) for k in np.argsort(first)]


def _track(table: Table, channel: str, rows: NDArray[np.int64], times: Doubles) -> Track:
    values = table.numbers[channel][rows]
    known = np.isfinite(values)
    track = Track(times[known], values[known])
    if late := np.flatnonzero(np.diff(track.times) <= 0).tolist():
        earlier, later = table.lines[rows[known][late[0] : late[0] + 2]]
        raise DataError(
            f"{table.path}, line {later}: expected increasing time stamps of channel {channel!r}, but this one is not"
            f" later than that of line {earlier}. Sort the rows and remove duplicates; if another recording starts"
            " here, add a recording column."
        )
    return track


def _constant(table: Table, column: str, rows: NDArray[np.int64]) -> str:
    """The one value of a column over a recording."""
    cells = table.texts[column][rows]
    other = np.flatnonzero(cells != cells[0]).tolist()
    if other or not cells[0]:
        line, cell = table.lines[rows[other[0] if other else 0]], cells[other[0] if other else 0]
        raise DataError(
            f"{table.path}, line {line}, column {column!r}: expected the same value in a whole recording, but got"
            f" {str(cell)!r}{f' after {str(cells[0])!r}' if other else ''}. Fill it in, or add a recording column to"
            " distinguish recordings."
        )
    return str(cells[0])


def _official(table: Table, column: str, rows: NDArray[np.int64]) -> str:
    value = _constant(table, column, rows)
    if value not in SPLITS:
        where = f"{table.path}, line {table.lines[rows[0]]}, column {column!r}"
        raise DataError(f"{where}: expected one of {', '.join(SPLITS)}, but got {value!r}.")
    return value
