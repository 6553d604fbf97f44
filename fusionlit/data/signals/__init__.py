"""Signals of several sensors: readers of their files, windows, and the data module."""

from fusionlit.data.signals.derived import Derived, Difference, Magnitude
from fusionlit.data.signals.module import SignalDataModule
from fusionlit.data.signals.npz import NPZReader
from fusionlit.data.signals.reader import Origin, SignalReader
from fusionlit.data.signals.sources import CSVReader
from fusionlit.data.signals.ts import TSReader
from fusionlit.data.signals.uci_har import UCIHARReader
from fusionlit.data.signals.windowing import Columns, Windowing
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
