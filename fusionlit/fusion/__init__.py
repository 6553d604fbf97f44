"""Fusion operators: combine several named features into one."""

from fusionlit.fusion.base import Features, FusionFactory, FusionOperator, Presence, ShapeMismatchError
from fusionlit.fusion.bilinear import Bilinear
from fusionlit.fusion.bottleneck import BottleneckAttention
from fusionlit.fusion.concat import Concat
from fusionlit.fusion.cross_modal import CrossModalAttention
from fusionlit.fusion.dempster_shafer import DempsterShafer
from fusionlit.fusion.elementwise import Add, Hadamard
from fusionlit.fusion.energy_weighted import EnergyWeightedAverage
from fusionlit.fusion.gated import GatedFusion
from fusionlit.fusion.low_rank import LowRankFusion
from fusionlit.fusion.matmul import MatMul
from fusionlit.fusion.tensor import TensorFusion
from fusionlit.fusion.transformer_fusion import TransformerFusion
from fusionlit.fusion.weighted_average import WeightedAverage
from fusionlit.fusion.weighted_sum import WeightedSum, WeightForm

__all__ = [
    "Add",
    "Bilinear",
    "BottleneckAttention",
    "Concat",
    "CrossModalAttention",
    "DempsterShafer",
    "EnergyWeightedAverage",
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
    "TransformerFusion",
    "WeightForm",
    "WeightedAverage",
    "WeightedSum",
]
