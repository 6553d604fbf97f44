"""Analysis of fusion: contributions, permutation importance, and trajectories with their figure."""

from fusionlit.analysis.contribution import Contribution
from fusionlit.analysis.permutation import PermutationImportance, permutation_importance
from fusionlit.analysis.plots import plot_trajectories
from fusionlit.analysis.runs import find_run, read_trajectories, weights
from fusionlit.analysis.trajectories import Trajectories

__all__ = [
    "Contribution",
    "PermutationImportance",
    "Trajectories",
    "find_run",
    "permutation_importance",
    "plot_trajectories",
    "read_trajectories",
    "weights",
]
