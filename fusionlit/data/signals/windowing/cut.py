"""Cutting of recordings into windows that cover the same seconds in every channel."""

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from lightning.pytorch.utilities import rank_zero_warn
from numpy.typing import NDArray

from fusionlit.data.labels import encode
from fusionlit.data.signals.windowing.config import Windowing
from fusionlit.data.signals.windowing.rates import channel_rates, window_grid
from fusionlit.data.signals.windowing.resample import resample
from fusionlit.data.signals.windowing.tracks import Doubles, Recording
from fusionlit.data.signals.windows import Channel, Windows
from fusionlit.errors import DataError

CHANGES, UNLABELED, SHORT, OUTSIDE = "label changes", "not labeled", "recording too short", "not all sensors run"
"""Reasons for leaving out windows; a recording that is too short counts as one window."""


class _Cut(NamedTuple):
    """The windows of one recording: starts (s), labels, and numbers of windows left out by reason."""

    starts: Doubles
    labels: NDArray[np.str_]
    left_out: Counter[str]


def cut(
    root: Path,
    recordings: list[Recording],
    windowing: Windowing,
    units: Mapping[str, str],
    modalities: Mapping[str, list[str]],
) -> Windows:
    """Cut all recordings into windows, with each channel on its own grid.

    A window has the common label of its rows. Windows with a change of label or an unlabelled row are left out and
    counted in `left_out`, as are recordings shorter than a window, and windows that are not covered by all sensors. A
    warning is given for short recordings, and if more than a window of a recording is not covered.

    Args:
        root: Source of the recordings, for messages.
        recordings: Recordings with the same channels.
        windowing: How to cut windows.
        units: Unit of each channel.
        modalities: Channels of each modality; `windowing` may give rates by modality.

    Raises:
        DataError: If time stamps are inconsistent, or no window is left.
        ConfigError: If a rate is given for an unknown name, or a window is too short for a channel.
    """
    rates = channel_rates(recordings, windowing, list(units), modalities)
    length, hop = windowing.seconds(max(rates.values()))
    grids = {name: window_grid(name, rate, length) for name, rate in rates.items()}
    cuts = [_choose(recording, grids, windowing.span, length, hop) for recording in recordings]
    left_out = sum((one.left_out for one in cuts), Counter[str]())
    if not any(len(one.starts) for one in cuts):
        raise DataError(_nothing_left(root, recordings, length, left_out))
    _warn(root, recordings, cuts, length, hop)
    values = {
        name: [
            resample(recording.tracks[name], one.starts[:, None] + grids[name], rate)
            for recording, one in zip(recordings, cuts, strict=True)
        ]
        for name, rate in rates.items()
    }
    target, classes = _encode(root, np.concatenate([one.labels for one in cuts]))
    whose = np.repeat(np.arange(len(recordings)), [len(one.starts) for one in cuts])
    official = [recording.official for recording in recordings]
    return Windows(
        channels={
            name: Channel(np.concatenate(values[name]).astype(np.float32), rates[name], units[name]) for name in units
        },
        target=target,
        classes=classes,
        group=np.array([recording.group for recording in recordings])[whose],
        official=np.array(official)[whose] if None not in official else None,
        overlapping=hop < length,
        left_out=dict(left_out),
    )


def window_starts(recording: Recording, grids: Mapping[str, Doubles], hop: float, span: str) -> tuple[Doubles, int]:
    """Starts (s) of the windows of a recording, and how many fewer there are with span `all` than with `any`.

    A channel covers every window whose samples lie between its first and last time stamp, or half a period beyond.
    """
    tracks = {name: track for name, track in recording.tracks.items() if len(track.times)}
    if not tracks:
        return np.empty(0), 0
    first = [track.times[0] for track in tracks.values()]
    last = [track.times[-1] + track.period / 2 - grids[name][-1] for name, track in tracks.items()]
    every = max(0, int((min(last) - max(first)) // hop) + 1)
    some = max(0, int((max(last) - min(first)) // hop) + 1)
    if span == "any":
        return min(first) + hop * np.arange(some), 0
    return max(first) + hop * np.arange(every), some - every


def window_labels(
    recording: Recording, starts: Doubles, length: float, tolerance: float
) -> tuple[NDArray[np.str_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Label of each window's first row, whether a row is unlabelled (or there are no rows), and whether labels change.

    The rows of a window are those in `[start, start + length)`, with a tolerance (s) for rounded time stamps.
    """
    first = np.searchsorted(recording.times, starts - tolerance)
    stop = np.searchsorted(recording.times, starts + length - tolerance)
    labels = recording.labels
    last = np.maximum(stop - 1, 0)
    first = np.minimum(first, last)
    blanks = np.cumsum(labels == "")
    changes = np.cumsum(labels != np.roll(labels, 1))
    unlabeled = (labels[first] == "") | (blanks[last] > blanks[first]) | (recording.times[first] < starts - tolerance)
    return labels[first], unlabeled, changes[last] > changes[first]


def _choose(recording: Recording, grids: Mapping[str, Doubles], span: str, length: float, hop: float) -> _Cut:
    """The windows of a recording with a single label."""
    starts, lost = window_starts(recording, grids, hop, span)
    period = min(grid[1] for grid in grids.values())
    labels, unlabeled, changes = window_labels(recording, starts, length, 1e-3 * period)
    kept = ~(unlabeled | changes)
    counts = {
        OUTSIDE: lost,
        UNLABELED: unlabeled.sum(),
        CHANGES: (changes & ~unlabeled).sum(),
        SHORT: not len(starts) and not lost,
    }
    return _Cut(starts[kept], labels[kept], Counter({reason: int(n) for reason, n in counts.items() if n}))


def _encode(root: Path, labels: NDArray[np.str_]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """The class of each window, and the class names; numbers are in numerical order."""
    values: NDArray[Any] = labels
    with suppress(ValueError):
        values = labels.astype(np.float64)
    return encode(values, f"{root}, labels")


def _nothing_left(root: Path, recordings: list[Recording], length: float, left_out: Mapping[str, int]) -> str:
    longest = max(float(recording.times[-1]) for recording in recordings)
    counts = ", ".join(f"{reason}: {count}" for reason, count in left_out.items())
    return (
        f"{root}: expected windows of {length:g} s, but none is left ({counts}). The longest recording lasts"
        f" {longest:g} s. Decrease `length`, label the rows, or correct `time_unit`."
    )


def _warn(root: Path, recordings: list[Recording], cuts: list[_Cut], length: float, hop: float) -> None:
    """Warn of recordings that are left out, or lose more than a window because some sensor does not cover it."""
    pairs = list(zip([recording.name for recording in recordings], cuts, strict=True))
    if short := [name for name, one in pairs if one.left_out[SHORT]]:
        rank_zero_warn(
            f"{root}: left out {len(short)} of {len(pairs)} recordings that are shorter than a window"
            f" ({length:g} s): {_some(short)}."
        )
    if parted := [name for name, one in pairs if one.left_out[OUTSIDE] * hop > length]:
        rank_zero_warn(
            f"{root}: in {len(parted)} of {len(pairs)} recordings some sensor starts later or stops earlier than the"
            f" others by more than a window; the windows without it are left out: {_some(parted)}. `span: any` keeps"
            " them, with missing values."
        )


def _some(names: list[str], most: int = 10) -> str:
    more = f", and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
