"""The rate of every channel, and the grid that it gives a window."""

from collections.abc import Mapping, Sequence

import numpy as np

from fusionlit.data.signals.windowing.config import Windowing
from fusionlit.data.signals.windowing.tracks import Doubles, Recording, estimate_rate
from fusionlit.errors import ConfigError, DataError


def channel_rates(
    recordings: Sequence[Recording],
    windowing: Windowing,
    channels: Sequence[str],
    modalities: Mapping[str, Sequence[str]],
) -> dict[str, float]:
    """Samples per second (Hz) of each channel, one for all recordings: as given, else estimated.

    Raises:
        DataError: If a channel has no values, or one recording's time stamps are in another unit than the others'.
        ConfigError: If a rate is given for what is neither a channel nor a modality.
    """
    given = windowing.rates or {}
    if unknown := [name for name in given if name not in channels and name not in modalities]:
        raise ConfigError(
            f"`rates` of Windowing name {unknown}, but the channels are {list(channels)} and the modalities"
            f" {list(modalities)}."
        )
    of_modality = {name: given[key] for key, names in modalities.items() if key in given for name in names}
    return (
        {name: _common_rate(recordings, name) for name in channels}
        | of_modality
        | {name: given[name] for name in channels if name in given}
    )


def window_grid(channel: str, rate: float, length: float) -> Doubles:
    """Times (s) of a channel's `round(length rate)` samples from a window's start, `(samples,)`.

    Raises:
        ConfigError: If there are fewer than two.
    """
    size = round(length * rate)
    if size < 2:
        raise ConfigError(
            f"Expected a window of at least 2 samples of every channel, but {length:g} s hold {length * rate:.3g} of"
            f" {channel!r} at {rate:g} Hz. Make `length` longer, or correct `time_unit` or `rates`."
        )
    return np.arange(size) / rate


def _common_rate(recordings: Sequence[Recording], channel: str) -> float:
    """Rate (Hz) of a channel over all recordings, none of which may be far from it."""
    steps = {r.name: np.diff(r.tracks[channel].times) for r in recordings if len(r.tracks[channel].times) > 1}
    if not steps:
        raise DataError(
            f"{recordings[0].name}: expected values of channel {channel!r}, but no recording has two of them. Leave it"
            " out of `modalities`."
        )
    rate = estimate_rate(np.concatenate(list(steps.values())))
    for name, own in steps.items():
        if not 0.01 < np.median(own) * rate < 100:
            raise DataError(
                f"{name}: expected time stamps of channel {channel!r} about {1 / rate:.3g} s apart as in the other"
                f" recordings, but they are {np.median(own):.3g} s apart. Bring all files to one time unit."
            )
    return rate
