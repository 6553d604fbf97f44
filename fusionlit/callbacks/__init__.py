"""Lightning callbacks that watch a run."""

from fusionlit.callbacks.checkpoint import FitCheckpoint
from fusionlit.callbacks.efficiency import EfficiencyMonitor
from fusionlit.callbacks.fusion_weights import FusionWeightLogger

__all__ = ["EfficiencyMonitor", "FitCheckpoint", "FusionWeightLogger"]
