"""Base class of readers of signals."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from fusionlit.data.signals.windows import Header, Windows

ChannelGroups = Mapping[str, list[str]]
"""Channels of each modality."""


class Origin(NamedTuple):
    """Everything that determines the windows of a source, except the selected channels.

    Args:
        files: All files that are read, and those that would be read if they existed.
        settings: Text of everything else that affects the windows, such as the arguments of the reader.
    """

    files: Sequence[Path]
    settings: str = ""


class SignalReader(ABC):
    """Reads one file format; splits and missing values are left to the data module.

    `header` and `read` get the selected channels, so that a reader may skip the others; None selects all.
    """

    @abstractmethod
    def header(self, root: Path, modalities: ChannelGroups | None = None) -> Header | None:
        """Channels and classes, from as few bytes as the format allows; None if all windows must be read for them."""

    @abstractmethod
    def read(self, root: Path, modalities: ChannelGroups | None = None) -> Windows:
        """All windows."""

    def origin(self, root: Path) -> Origin | None:
        """Files and settings that determine the windows, which are then read only once, and packed.

        None: unknown, so that the windows are read at every start; this is also the case for a subclass that overrides
        `read` but not `origin`. The source file of the class is included automatically, so that a changed reader reads
        again; other code that it calls is not.
        """
        return None


def channels_of(modalities: ChannelGroups) -> list[str]:
    """The channels of all modalities."""
    return [channel for channels in modalities.values() for channel in channels]
