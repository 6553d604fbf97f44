"""The windows of a data set: read from its files, or from a pack if the reader declares its origin."""

import inspect
import json
import os
from hashlib import blake2b
from pathlib import Path

import numpy as np

from fusionlit.data.signals.modalities import by_prefix, check_modalities, stack_specs
from fusionlit.data.signals.readers.base import ChannelGroups, Origin, SignalReader, channels_of
from fusionlit.data.signals.stacked import Stacked, stack
from fusionlit.data.signals.windows import Header
from fusionlit.errors import DataError
from fusionlit.storage.pack import Pack, Source, fingerprint, open_or_pack
from fusionlit.storage.pack.source import Fingerprint


class WindowFiles:
    """A data set of windows, with `header` and `modalities` available after construction.

    If the reader has no header, all windows are read or packed to determine it.

    Args:
        root: Folder or file.
        reader: Reader of the format.
        modalities: Channels of each modality; default: grouped by name.
        beside: Folder for the packed data; default: that of the data set.

    Raises:
        DataError: If the files are not as expected.
        ConfigError: If `modalities` name an unknown channel, or one channel twice.
    """

    def __init__(self, root: Path, reader: SignalReader, modalities: ChannelGroups | None, beside: Path | None) -> None:
        self._root = root
        self._reader = reader
        self._beside = beside
        self._asked = modalities
        self._promised = reader.header(root, modalities)
        if self._promised is None:
            windows = self.open(contents=False)
            self.header, self.modalities = windows.header, windows.modalities
        else:
            self.header = self._promised
            self.modalities = self._asked = by_prefix(self.header.channels) if modalities is None else dict(modalities)
            check_modalities(self.modalities, self.header.channels)

    def pack(self, contents: bool = True) -> Pack | None:
        """The pack of the windows, created if necessary (see `open_or_pack`); None if the reader has no origin.

        Raises:
            DataError: If the files are not as expected, or the packed data cannot be written.
        """
        code = _code(type(self._reader))
        origin = self._reader.origin(self._root)
        if code is None or origin is None:
            return None
        name = f"{type(self._reader).__module__}.{type(self._reader).__qualname__}"
        source = Source(
            self._root,
            recipe=json.dumps([name, origin.settings, self._asked]),
            # The reader's code counts as one more file, so that packs made by older code are replaced.
            look=lambda: np.sort(np.append(self._fingerprint(), code)),
            contents=lambda: self._read().contents(),
        )
        return open_or_pack(source, self._beside, contents)

    def _fingerprint(self) -> Fingerprint:
        origin = self._reader.origin(self._root)
        return fingerprint(() if origin is None else _named(self._root, origin))

    def open(self, contents: bool) -> Stacked:
        """All windows, mapped from their pack, or read if there is none.

        Args:
            contents: Whether to verify the contents of the pack.

        Raises:
            DataError: If the files are not as expected, or the packed data cannot be written.
        """
        packed = self.pack(contents)
        return self._read() if packed is None else Stacked.of(packed)

    def check(self, windows: Stacked) -> None:
        """Raise DataError unless the windows match the header.

        Raises:
            DataError: The message contains both.
        """
        _check_promise(self._root, self.header, windows.header, self.modalities)

    def _read(self) -> Stacked:
        windows = self._reader.read(self._root, self._asked)
        header = windows.header
        modalities = by_prefix(header.channels) if self._asked is None else self._asked
        if self._promised is not None:
            _check_promise(self._root, self._promised, header, modalities)
        check_modalities(modalities, header.channels)
        stack_specs(modalities, header.channels)
        return stack(self._root, windows, modalities)


def _check_promise(root: Path, promised: Header, found: Header, modalities: ChannelGroups) -> None:
    wanted = {name: promised.channels[name] for name in channels_of(modalities)}
    grids = {name: found.channels.get(name) for name in wanted}
    if (wanted, promised.classes) != (grids, found.classes):
        raise DataError(
            f"{root}: expected {wanted} with classes {promised.classes}, as in the header, but the windows have {grids}"
            f" with classes {found.classes}. If the files have changed, start again."
        )


def _named(root: Path, origin: Origin) -> list[tuple[str, Path]]:
    base = root if root.is_dir() else root.parent
    return [(os.path.relpath(path, base), path) for path in origin.files]


def _code(kind: type[SignalReader]) -> np.uint64 | None:
    """Digest of the source file of a reader's class; None if its `origin` may not describe its `read`."""
    origin, read = (next(base for base in kind.__mro__ if name in vars(base)) for name in ("origin", "read"))
    if not issubclass(origin, read):
        return None
    try:
        code = Path(inspect.getsourcefile(kind) or "").read_bytes()
    except (TypeError, OSError):  # defined in a notebook or an interpreter
        return None
    return np.uint64(int.from_bytes(blake2b(code, digest_size=8).digest(), "little"))
