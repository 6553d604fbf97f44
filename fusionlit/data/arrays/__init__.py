"""Data sets of ready-made arrays, one per modality."""

from fusionlit.data.arrays.module import ArrayDataModule

__all__ = ["ArrayDataModule"]
