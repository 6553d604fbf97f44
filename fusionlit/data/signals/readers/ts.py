"""Reader of the `.ts` format of the UEA archive of multivariate time series."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np

from fusionlit.data.labels import encode
from fusionlit.data.signals.readers.base import ChannelGroups, Origin, SignalReader
from fusionlit.data.signals.windows import Channel, Floats, Grid, Header, Windows
from fusionlit.errors import DataError

SIDES = {"train": "_TRAIN.ts", "test": "_TEST.ts"}


class TSHead(NamedTuple):
    """The header of a file, above `@data`.

    Args:
        tags: Text of each tag by its lower-case name.
        classes: Class names.
        first: Number of the line below `@data`.
    """

    tags: dict[str, str]
    classes: tuple[str, ...]
    first: int


class TSReader(SignalReader):
    """`NAME_TRAIN.ts` and `NAME_TEST.ts`, the official split, or a single `.ts` file.

    A line is a window: channels separated by `:`, their values by `,`, the class last; `?` is a missing value. Channels
    are named `dim_0`, `dim_1`, ...; the format has no rates, units or groups, so that every window is its own group.
    The header is read from the tags and the first window.

    Source: Bagnall et al., "The UEA multivariate time series classification archive, 2018" (arXiv 1811.00075).
    """

    def header(self, root: Path, modalities: ChannelGroups | None = None) -> Header:
        """Channels from the first window, classes from `@classLabel`."""
        path = next(iter(ts_files(root).values()))
        with _open(path) as file:
            head = _read_head(path, file)
            _, window, _ = next(_windows(path, file, head))
        return Header({f"dim_{i}": Grid(len(values)) for i, values in enumerate(window)}, head.classes)

    def read(self, root: Path, modalities: ChannelGroups | None = None) -> Windows:
        """The windows of both files, training first."""
        files = ts_files(root)
        grids, classes = self.header(root)
        length = next(iter(grids.values())).length
        parts, labels, group = [], [], []
        for side, path in files.items():
            values, texts = _read_file(path, (len(grids), length), classes)
            parts.append(values)
            labels.append(np.array(texts))
            group += [f"{side}/{i}" if side else str(i) for i in range(len(texts))]
        x = np.concatenate(parts)
        target, _ = encode(np.concatenate(labels), " and ".join(map(str, files.values())), classes)
        return Windows(
            {name: Channel(x[:, i]) for i, name in enumerate(grids)},
            target,
            classes,
            np.array(group),
            np.repeat(list(files), [len(part) for part in parts]) if len(files) > 1 else None,
        )

    def origin(self, root: Path) -> Origin:
        """One file or two."""
        return Origin(list(ts_files(root).values()))


def ts_files(root: Path) -> dict[str, Path]:
    """The files by split; a single file has the key `""`.

    Raises:
        DataError: If a folder contains no pair, or several.
    """
    if root.is_file():
        stem = next((root.name.removesuffix(end) for end in SIDES.values() if root.name.endswith(end)), None)
        pair = {side: root.with_name(f"{stem}{end}") for side, end in SIDES.items()}
        return pair if stem and all(path.is_file() for path in pair.values()) else {"": root}
    stems = sorted(path.name.removesuffix(SIDES["train"]) for path in root.glob(f"*{SIDES['train']}"))
    if len(stems) != 1 or not (root / f"{stems[0]}{SIDES['test']}").is_file():
        raise DataError(
            f"{root}: expected one pair NAME_TRAIN.ts and NAME_TEST.ts, but got"
            f" {sorted(path.name for path in root.glob('*.ts'))}. Point `root` to one of its files."
        )
    return {side: root / f"{stems[0]}{end}" for side, end in SIDES.items()}


def _open(path: Path) -> TextIO:
    return path.open(encoding="utf-8", errors="replace")


def _read_head(path: Path, file: TextIO) -> TSHead:
    tags: dict[str, str] = {}
    for number, line in enumerate(file, 1):
        text = line.strip()
        if text.lower() == "@data":
            return TSHead(tags, _classes(path, tags), number + 1)
        if text.startswith("@"):
            name, _, value = text[1:].partition(" ")
            tags[name.lower()] = value.strip()
        elif text and not text.startswith("#"):
            raise DataError(
                f"{path}, line {number}: expected tags such as '@classLabel true a b', but got {text[:40]!r}."
            )
    raise DataError(f"{path}: expected a line '@data' above the windows, but there is none: this is not a .ts file.")


def _classes(path: Path, tags: dict[str, str]) -> tuple[str, ...]:
    if tags.get("timestamps", "false").lower() == "true":
        raise DataError(f"{path}: expected '@timestamps false', but its values have time stamps. Write plain values.")
    given, *names = tags.get("classlabel", "false").split() or ["false"]
    if given.lower() != "true" or not names:
        raise DataError(
            f"{path}: expected '@classLabel true' with the class names, but got {tags.get('classlabel')!r}. Training"
            " needs classes: add the tag."
        )
    return tuple(names)


def _windows(path: Path, file: TextIO, head: TSHead) -> Iterator[tuple[int, list[Floats], str]]:
    """Line number, values of each channel and class of every window; at least one window must exist."""
    empty = True
    for number, line in enumerate(file, head.first):
        if not line.strip() or line.startswith("#"):
            continue
        *channels, label = line.strip().split(":")
        where = f"{path}, line {number}"
        if label not in head.classes:
            raise DataError(f"{where}: expected one of the classes {list(head.classes)} last, but got {label[:40]!r}.")
        empty = False
        yield number, [_parse(where, channel) for channel in channels], label
    if empty:
        raise DataError(f"{path}: expected one window per line below @data, but there is none. Copy it again.")


def _parse(where: str, channel: str) -> Floats:
    cells = channel.replace("?", "nan").split(",")
    try:
        return np.array(cells, dtype=np.float32)
    except ValueError as error:
        raise DataError(f"{where}: expected numbers separated by commas ('?' if missing): {error}.") from error


def _read_file(path: Path, shape: tuple[int, int], classes: Sequence[str]) -> tuple[Floats, list[str]]:
    """`(n, channels, time)` and the class of each window."""
    with _open(path) as file:
        head = _read_head(path, file)
        if set(head.classes) != set(classes):
            raise DataError(f"{path}: expected the classes {list(classes)}, but got {list(head.classes)}.")
        values, labels = [], []
        for number, window, label in _windows(path, file, head):
            lengths = {len(channel) for channel in window}
            if (len(window), *lengths) != shape:
                raise DataError(
                    f"{path}, line {number}: expected {shape[0]} channels of {shape[1]} values, like the first window,"
                    f" but got lengths {[len(channel) for channel in window]}. Crop or remove this window."
                )
            values.append(np.stack(window))
            labels.append(label)
    return np.stack(values), labels
