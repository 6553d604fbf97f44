"""Modalities as named groups of channels."""

from collections import Counter
from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from fusionlit.data.signals.readers.base import ChannelGroups, channels_of
from fusionlit.data.signals.windows import Grid
from fusionlit.errors import ConfigError, DataError
from fusionlit.types import ModalitySpec

AXES = ("x", "y", "z", "w")


def by_prefix(channels: Iterable[str]) -> dict[str, list[str]]:
    """Group the axes of each sensor into a modality: `acc_x`, `acc_y`, `acc_z` become `acc`; other channels stay alone.

    Axes are x, y, z and w; a single axis keeps its name, and so do axes if another channel already has their prefix as
    its name.
    """
    channels = list(channels)
    prefixes = {name: name[:-2] for name in channels if name[-2:-1] == "_" and name[-1].lower() in AXES}
    common = Counter(prefixes.values())
    modalities: dict[str, list[str]] = {}
    for name in channels:
        prefix = prefixes.get(name, "")
        whole = prefix and common[prefix] > 1 and prefix not in channels
        modalities.setdefault(prefix if whole else name, []).append(name)
    return modalities


def check_modalities(modalities: ChannelGroups, available: Iterable[str]) -> None:
    """Raise ConfigError for unknown channels, and for channels named twice.

    With a channel in two modalities, the contributions of the two could not be told apart.

    Raises:
        ConfigError: The message lists the available channels.
    """
    available = list(available)
    if not modalities or not all(modalities.values()):
        raise ConfigError(f"Expected `modalities` to name channels, some of {available}, but got {dict(modalities)}.")
    for modality, channels in modalities.items():
        for name in channels:
            if name not in available:
                close = get_close_matches(name, available, n=3)
                hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
                raise ConfigError(
                    f"Expected `modalities` to name channels of the data, {available}, but {modality!r} names"
                    f" {name!r}.{hint}"
                )
    if twice := [name for name, count in Counter(channels_of(modalities)).items() if count > 1]:
        raise ConfigError(
            f"Expected each channel once in `modalities`, but got {twice} more than once: contributions of modalities"
            " with common channels could not be told apart. Name each channel once."
        )


def stack_specs(modalities: ChannelGroups, grids: Mapping[str, Grid]) -> dict[str, ModalitySpec]:
    """Spec of each modality: a signal `(channels, time)`, with a unit if all its channels have the same.

    Raises:
        DataError: If the channels of a modality differ in length or rate.
    """
    specs: dict[str, ModalitySpec] = {}
    for modality, channels in modalities.items():
        times = {name: (grids[name].length, grids[name].rate) for name in channels}
        if len(set(times.values())) > 1:
            found = ", ".join(f"{name} {_time(*time)}" for name, time in times.items())
            raise DataError(
                f"Expected the channels of modality {modality!r} to have the same length and rate, but got {found}."
                " Define one modality per rate in `modalities`."
            )
        length, rate, unit = grids[channels[0]]
        one_unit = unit if {grids[name].unit for name in channels} == {unit} else ""
        shape = (len(channels), length)
        specs[modality] = ModalitySpec(shape, "signal", channels=tuple(channels), rate_hz=rate, unit=one_unit or None)
    return specs


def _time(length: int, rate: float | None) -> str:
    return f"({length} samples" + (f" at {rate:g} Hz)" if rate else ")")
