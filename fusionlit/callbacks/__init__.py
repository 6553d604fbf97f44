"""Lightning callbacks that watch a run."""

from fusionlit.callbacks.checkpoint import BestCheckpoint, LastCheckpoint
from fusionlit.callbacks.efficiency import EfficiencyMonitor
from fusionlit.callbacks.fusion_weights import FusionWeightLogger
from fusionlit.callbacks.permutation import PermutationLogger
from fusionlit.callbacks.predictions import PredictionWriter
from fusionlit.callbacks.temperature import TemperatureScaling

__all__ = [
    "BestCheckpoint",
    "EfficiencyMonitor",
    "FusionWeightLogger",
    "LastCheckpoint",
    "PermutationLogger",
    "PredictionWriter",
    "TemperatureScaling",
]
