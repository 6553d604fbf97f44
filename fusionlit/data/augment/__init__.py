"""Augmentation of training batches: of signals, and of images together with point maps."""

from fusionlit.data.augment.base import Augmentation
from fusionlit.data.augment.frames import FrameAugmentation
from fusionlit.data.augment.signals import SignalAugmentation

__all__ = ["Augmentation", "FrameAugmentation", "SignalAugmentation"]
