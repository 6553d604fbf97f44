"""Data modules, the ways to split their data, and the renderer of RGB/LiDAR data sets (`fusionlit.synthetic`)."""

from fusionlit.data.arrays.module import ArrayDataModule
from fusionlit.data.assignment import GroupSplit
from fusionlit.data.augment import Augmentation, FrameAugmentation, SignalAugmentation
from fusionlit.data.base import FusionDataModule, collate
from fusionlit.data.groups import Group, find_groups
from fusionlit.data.replicator.module import ReplicatorDataModule
from fusionlit.data.resplit import InnerFolds, RefitSplit
from fusionlit.data.signals import SignalDataModule
from fusionlit.data.splits import FileSplit, FoldSplit, FractionSplit, LastFramesSplit, OfficialSplit

__all__ = [
    "ArrayDataModule",
    "Augmentation",
    "FileSplit",
    "FoldSplit",
    "FractionSplit",
    "FrameAugmentation",
    "FusionDataModule",
    "Group",
    "GroupSplit",
    "InnerFolds",
    "LastFramesSplit",
    "OfficialSplit",
    "RefitSplit",
    "ReplicatorDataModule",
    "SignalAugmentation",
    "SignalDataModule",
    "collate",
    "find_groups",
]
