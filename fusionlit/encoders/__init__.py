"""Encoders (from a modality to features) and heads (from features to a prediction)."""

from fusionlit.encoders.backbone import TorchvisionEncoder
from fusionlit.encoders.base import Encoder, EncoderFactory, Head, HeadFactory, StagedEncoder
from fusionlit.encoders.conv import ConvEncoder
from fusionlit.encoders.head import MLPHead
from fusionlit.encoders.inception import InceptionEncoder
from fusionlit.encoders.mlp import MLPEncoder
from fusionlit.encoders.recurrent import RecurrentEncoder

__all__ = [
    "ConvEncoder",
    "Encoder",
    "EncoderFactory",
    "Head",
    "HeadFactory",
    "InceptionEncoder",
    "MLPEncoder",
    "MLPHead",
    "RecurrentEncoder",
    "StagedEncoder",
    "TorchvisionEncoder",
]
