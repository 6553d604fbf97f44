"""Renders RGB/LiDAR data sets in the replicator format: `scene`, `raycast`, `sensors`, `write`."""

from fusionlit.synthetic.write import render

__all__ = ["render"]
