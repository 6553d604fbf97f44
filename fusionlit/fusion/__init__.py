"""Fusion operators: from several named features to one."""

from fusionlit.fusion.base import Features, FusionFactory, FusionOperator, Presence, ShapeMismatchError
from fusionlit.fusion.bilinear import Bilinear
from fusionlit.fusion.bottleneck import BottleneckAttention
from fusionlit.fusion.concat import Concat
from fusionlit.fusion.cross_modal import CrossModalAttention
from fusionlit.fusion.elementwise import Add, Hadamard
from fusionlit.fusion.gated import GatedFusion
from fusionlit.fusion.low_rank import LowRankFusion
from fusionlit.fusion.matmul import MatMul
from fusionlit.fusion.tensor import TensorFusion
from fusionlit.fusion.weighted_average import WeightedAverage
from fusionlit.fusion.weighted_sum import WeightedSum, WeightForm

__all__ = [
    "Add",
    "Bilinear",
    "BottleneckAttention",
    "Concat",
    "CrossModalAttention",
    "Features",
    "FusionFactory",
    "FusionOperator",
    "GatedFusion",
    "Hadamard",
    "LowRankFusion",
    "MatMul",
    "Presence",
    "ShapeMismatchError",
    "TensorFusion",
    "WeightForm",
    "WeightedAverage",
    "WeightedSum",
]
