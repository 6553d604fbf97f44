"""Data modules, the ways to split their data, and the renderer of RGB/LiDAR data sets (`fusionlit.data.render`)."""

from fusionlit.data.base import FusionDataModule
from fusionlit.data.replicator import ReplicatorDataModule
from fusionlit.data.splits import FileSplit, FractionSplit, FrameSplit, LastFramesSplit

__all__ = ["FileSplit", "FractionSplit", "FrameSplit", "FusionDataModule", "LastFramesSplit", "ReplicatorDataModule"]
