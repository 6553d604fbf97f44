"""What a run tells about its fusion: contributions, trajectories, and their figure."""

from fusionlit.analysis.contribution import Contribution
from fusionlit.analysis.plots import plot_trajectories
from fusionlit.analysis.runs import find_run, read_trajectories, weights
from fusionlit.analysis.trajectories import Trajectories

__all__ = ["Contribution", "Trajectories", "find_run", "plot_trajectories", "read_trajectories", "weights"]
