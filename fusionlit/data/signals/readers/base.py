"""What a reader of signals is."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from fusionlit.data.signals.windows import Header, Windows

Modalities = Mapping[str, list[str]]
"""Channels of each modality."""


class Origin(NamedTuple):
    """What windows are made of, beside the channels that are wanted.

    Args:
        files: All that are read, and those that would be if they were there.
        settings: Text of whatever else changes the windows, such as the reader's own arguments.
    """

    files: Sequence[Path]
    settings: str = ""


class SignalReader(ABC):
    """Knows one format of files, and nothing of splits and missing values, which are the data module's.

    `header` and `read` are told which channels are wanted, so that a reader may pass over the others; None wants all.
    """

    @abstractmethod
    def header(self, root: Path, modalities: Modalities | None = None) -> Header | None:
        """Channels and classes, from as few bytes as the format allows; None where only the windows tell them."""

    @abstractmethod
    def read(self, root: Path, modalities: Modalities | None = None) -> Windows:
        """All windows."""

    def origin(self, root: Path) -> Origin | None:
        """What the windows are made of, without reading it; they are then read once, and packed.

        None: nobody knows, and they are read at every start. That holds for any class with a `read` of its own and no
        `origin`. The file in which the class stands counts too, so that corrected code reads again; other code that it
        calls does not.
        """
        return None


def channels_of(modalities: Modalities) -> list[str]:
    """The channels of all modalities."""
    return [channel for channels in modalities.values() for channel in channels]
