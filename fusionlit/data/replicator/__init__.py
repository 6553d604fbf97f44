"""RGB/LiDAR frames in the replicator format: files, folders, angles, positions, and the data module."""

from fusionlit.data.replicator.module import ReplicatorDataModule

__all__ = ["ReplicatorDataModule"]
