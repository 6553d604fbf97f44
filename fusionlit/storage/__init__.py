"""Arrays of rows, in memory or memory-mapped: NPY, NPZ, and packs of a data set."""
