"""Rows of arrays, in memory or mapped from files: NPY, NPZ, and packs of a data set."""
