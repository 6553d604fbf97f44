"""Lightning callbacks."""

from fusionlit.callbacks.checkpoint import BestCheckpoint, LastCheckpoint
from fusionlit.callbacks.efficiency import EfficiencyMonitor
from fusionlit.callbacks.fusion_gain import FusionGain
from fusionlit.callbacks.fusion_weights import FusionWeightLogger
from fusionlit.callbacks.interval import LoggingInterval
from fusionlit.callbacks.length import TrainingLength
from fusionlit.callbacks.permutation import PermutationLogger
from fusionlit.callbacks.predictions import PredictionWriter
from fusionlit.callbacks.smoothing import SmoothedMetric
from fusionlit.callbacks.temperature import TemperatureScaling

__all__ = [
    "BestCheckpoint",
    "EfficiencyMonitor",
    "FusionGain",
    "FusionWeightLogger",
    "LastCheckpoint",
    "LoggingInterval",
    "PermutationLogger",
    "PredictionWriter",
    "SmoothedMetric",
    "TemperatureScaling",
    "TrainingLength",
]
