"""Lightning callbacks that watch a run."""

from fusionlit.callbacks.efficiency import EfficiencyMonitor
from fusionlit.callbacks.fusion_weights import FusionWeightLogger

__all__ = ["EfficiencyMonitor", "FusionWeightLogger"]
