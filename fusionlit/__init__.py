"""fusionlit: train, compare and explain multimodal fusion with PyTorch Lightning."""

__version__ = "0.1.0"
