"""Sampling rates of channels, and the resulting grids of windows."""

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
    """Samples per second (Hz) of each channel, the same for all recordings: as given, or else estimated.

    Raises:
        DataError: If a channel has no values, or the time stamps of a recording seem to be in another unit.
        ConfigError: If a rate is given for a name that is neither a channel nor a modality.
    """
    given = windowing.rates or {}
    if unknown := [name for name in given if name not in channels and name not in modalities]:
        raise ConfigError(
            f"Expected `rates` of Windowing to name channels, {list(channels)}, or modalities, {list(modalities)}, but"
            f" got {unknown}."
        )
    of_modality = {name: given[key] for key, names in modalities.items() if key in given for name in names}
    return (
        {name: _common_rate(recordings, name) for name in channels}
        | of_modality
        | {name: given[name] for name in channels if name in given}
    )


def window_grid(channel: str, rate: float, length: float) -> Doubles:
    """Times (s) of a channel's `round(length rate)` samples, relative to the start of a window, `(samples,)`.

    Raises:
        ConfigError: If there are fewer than two.
    """
    size = round(length * rate)
    if size < 2:
        raise ConfigError(
            f"Expected at least 2 samples of every channel in a window, but {length:g} s are {length * rate:.3g}"
            f" samples of {channel!r} at {rate:g} Hz. Increase `length`, or correct `time_unit` or `rates`."
        )
    return np.arange(size) / rate


def _common_rate(recordings: Sequence[Recording], channel: str) -> float:
    """Rate (Hz) of a channel over all recordings; raises if a recording differs by a factor of about 100."""
    steps = {r.name: np.diff(r.tracks[channel].times) for r in recordings if len(r.tracks[channel].times) > 1}
    if not steps:
        raise DataError(
            f"{recordings[0].name}: expected at least two values of channel {channel!r}, but no recording has them."
            " Leave it out of `modalities`."
        )
    rate = estimate_rate(np.concatenate(list(steps.values())))
    for name, own in steps.items():
        if not 0.01 < np.median(own) * rate < 100:
            raise DataError(
                f"{name}: expected time stamps of channel {channel!r} about {1 / rate:.3g} s apart, as in the other"
                f" recordings, but they are {np.median(own):.3g} s apart. Use the same time unit in all files."
            )
    return rate
