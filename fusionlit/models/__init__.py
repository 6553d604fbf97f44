"""Fusion models, which differ in where the modalities are fused."""

from fusionlit.models.balance import OGMGE, UMT, AMCo, Balance, GBlending, MMPareto
from fusionlit.models.base import FusionModule
from fusionlit.models.centralnet import CentralNet
from fusionlit.models.early import EarlyFusion
from fusionlit.models.ensemble import Ensemble
from fusionlit.models.intermediate import IntermediateFusion
from fusionlit.models.late import LateFusion
from fusionlit.models.module import MultimodalModule
from fusionlit.models.presence import Imputation
from fusionlit.models.schedules import WarmupCosine
from fusionlit.models.training import TrainingConfig
from fusionlit.models.unimodal import Unimodal

__all__ = [
    "OGMGE",
    "UMT",
    "AMCo",
    "Balance",
    "CentralNet",
    "EarlyFusion",
    "Ensemble",
    "FusionModule",
    "GBlending",
    "Imputation",
    "IntermediateFusion",
    "LateFusion",
    "MMPareto",
    "MultimodalModule",
    "TrainingConfig",
    "Unimodal",
    "WarmupCosine",
]
