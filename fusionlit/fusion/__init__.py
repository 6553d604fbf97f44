"""Fusion operators: from several named features to one."""

from fusionlit.fusion.base import Features, FusionFactory, FusionOperator, Presence, ShapeMismatchError
from fusionlit.fusion.concat import Concat
from fusionlit.fusion.elementwise import Add, Hadamard
from fusionlit.fusion.matmul import MatMul
from fusionlit.fusion.weighted_average import WeightedAverage
from fusionlit.fusion.weighted_sum import WeightedSum, WeightForm

__all__ = [
    "Add",
    "Concat",
    "Features",
    "FusionFactory",
    "FusionOperator",
    "Hadamard",
    "MatMul",
    "Presence",
    "ShapeMismatchError",
    "WeightForm",
    "WeightedAverage",
    "WeightedSum",
]
