"""Renders RGB/LiDAR data sets in the replicator format: `scene`, `raycast`, `sensors`, `write`."""

from fusionlit.data.render.write import render

__all__ = ["render"]
