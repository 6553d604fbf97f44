"""Signals of several sensors: readers of their files, windows, and the data module."""

from fusionlit.data.signals.derived import Derived, Difference, Magnitude
from fusionlit.data.signals.module import SignalDataModule
from fusionlit.data.signals.readers.base import Origin, SignalReader
from fusionlit.data.signals.readers.csv import CSVReader
from fusionlit.data.signals.readers.npz import NPZReader
from fusionlit.data.signals.readers.ts import TSReader
from fusionlit.data.signals.readers.uci_har import UCIHARReader
from fusionlit.data.signals.windowing.config import Columns, Windowing
from fusionlit.data.signals.windows import Channel, Grid, Header, Windows

__all__ = [
    "CSVReader",
    "Channel",
    "Columns",
    "Derived",
    "Difference",
    "Grid",
    "Header",
    "Magnitude",
    "NPZReader",
    "Origin",
    "SignalDataModule",
    "SignalReader",
    "TSReader",
    "UCIHARReader",
    "Windowing",
    "Windows",
]
