"""The formulas of fusion, on plain tensors."""

from fusionlit.functional.contribution import CENTRAL, attributions, contributions
from fusionlit.functional.sums import mean_square, mixture_log_odds, per_sample, renormalize, unit_rms

__all__ = [
    "CENTRAL",
    "attributions",
    "contributions",
    "mean_square",
    "mixture_log_odds",
    "per_sample",
    "renormalize",
    "unit_rms",
]
