"""Strategies: where fusion happens."""

from fusionlit.models.base import FusionModule
from fusionlit.models.centralnet import CentralNet
from fusionlit.models.early import EarlyFusion
from fusionlit.models.intermediate import IntermediateFusion
from fusionlit.models.late import LateFusion
from fusionlit.models.presence import StandIns
from fusionlit.models.schedules import WarmupCosine
from fusionlit.models.training import Training
from fusionlit.models.unimodal import Unimodal

__all__ = [
    "CentralNet",
    "EarlyFusion",
    "FusionModule",
    "IntermediateFusion",
    "LateFusion",
    "StandIns",
    "Training",
    "Unimodal",
    "WarmupCosine",
]
