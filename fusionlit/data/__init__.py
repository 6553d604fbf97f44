"""Data modules, splits and augmentations."""

from fusionlit.data.arrays.module import ArrayDataModule
from fusionlit.data.assignment import GroupSplit
from fusionlit.data.augment import Augmentation, FrameAugmentation, SignalAugmentation
from fusionlit.data.base import FusionDataModule
from fusionlit.data.grouped import GroupedDataModule
from fusionlit.data.groups import Group, find_groups
from fusionlit.data.loaders import collate
from fusionlit.data.replicator.module import ReplicatorDataModule
from fusionlit.data.resplit import InnerFolds, RefitSplit
from fusionlit.data.samples import FileRows, Samples
from fusionlit.data.signals import SignalDataModule
from fusionlit.data.splits import FileSplit, FoldSplit, FractionSplit, LastFramesSplit, OfficialSplit
from fusionlit.data.targets import make_targets

__all__ = [
    "ArrayDataModule",
    "Augmentation",
    "FileRows",
    "FileSplit",
    "FoldSplit",
    "FractionSplit",
    "FrameAugmentation",
    "FusionDataModule",
    "Group",
    "GroupSplit",
    "GroupedDataModule",
    "InnerFolds",
    "LastFramesSplit",
    "OfficialSplit",
    "RefitSplit",
    "ReplicatorDataModule",
    "Samples",
    "SignalAugmentation",
    "SignalDataModule",
    "collate",
    "find_groups",
    "make_targets",
]
