"""Rendering of synthetic data sets: RGB and LiDAR in the replicator format, and signals with a known truth."""

from fusionlit.synthetic.write import render

__all__ = ["render"]
