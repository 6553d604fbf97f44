"""Arrays that are ready, one per modality."""

from fusionlit.data.arrays.module import ArrayDataModule

__all__ = ["ArrayDataModule"]
