"""What a reader of signals is."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

from fusionlit.data.signals.windows import Header, Windows

Modalities = Mapping[str, list[str]]
"""Channels of each modality."""


class SignalReader(ABC):
    """Knows one format of files, and nothing of splits and missing values, which are the data module's.

    Both methods are told which channels are wanted, so that a reader may pass over the others; None wants all.
    """

    @abstractmethod
    def header(self, root: Path, modalities: Modalities | None = None) -> Header:
        """Channels and classes, from as few bytes as the format allows."""

    @abstractmethod
    def read(self, root: Path, modalities: Modalities | None = None) -> Windows:
        """All windows."""


def channels_of(modalities: Modalities) -> list[str]:
    """The channels of all modalities."""
    return [channel for channels in modalities.values() for channel in channels]
