"""Text summary of a data set of windows."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fusionlit.data.signals.stacked import Stacked
from fusionlit.data.signals.windows import Grid
from fusionlit.types import SPLITS


def describe(root: Path, windows: Stacked, side: NDArray[np.str_]) -> str:
    """Summarise windows, classes, modalities with channels, units and rates, and splits.

    Args:
        root: Source of the windows.
        windows: All windows.
        side: Split of each window, `(n,)`; empty for unused windows.
    """
    overlap = "; windows of one group may overlap" if windows.overlapping else ""
    lines = [f"{root}: {len(windows):,} windows of {len(set(windows.group.tolist())):,} groups{overlap}"]
    lines += ["  classes: " + ", ".join(f"{label} {name}" for label, name in enumerate(windows.header.classes))]
    for modality, names in windows.modalities.items():
        channels = {name: windows.header.channels[name] for name in names}
        listed = ", ".join(name + (f" ({channel.unit})" if channel.unit else "") for name, channel in channels.items())
        lines.append(f"  {modality}: {_time(channels[names[0]])}: {listed}")
    if windows.left_out:
        lines.append("  left out: " + ", ".join(f"{count:,} {reason}" for reason, count in windows.left_out.items()))
    for split in SPLITS:
        groups = list(dict.fromkeys(windows.group[side == split].tolist()))
        named = f" ({', '.join(groups)})" if 0 < len(groups) <= 40 else ""
        lines.append(f"  {split}: {int((side == split).sum()):,} windows of {len(groups):,} groups{named}")
    return "\n".join(lines)


def _time(grid: Grid) -> str:
    return f"{grid.length} samples" + (f" at {grid.rate:g} Hz ({grid.length / grid.rate:g} s)" if grid.rate else "")
