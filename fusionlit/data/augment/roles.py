"""Which modalities are pictures and which are points."""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from fusionlit.errors import ConfigError
from fusionlit.types import Modalities, as_specs, shapes_of

MAPS = ("image", "depth", "points")
"""Kinds of modalities that are maps `(channels, H, W)`."""


class Roles(NamedTuple):
    """Modalities that are maps `(channels, H, W)`.

    Args:
        images: Pictures.
        points: XYZA maps.
        others: Maps that stay as they are.
    """

    images: list[str]
    points: list[str]
    others: list[str]


def find_roles(
    modalities: Modalities,
    rays: Mapping[str, Tensor],
    images: list[str] | None,
    points: list[str] | None,
) -> Roles:
    """Pictures and points, as named or else by what is known of them.

    Points are by default the modalities of that kind. Pictures are by default all other maps, except that four channels
    may mean RGBA or XYZA where there are no points at all.

    Raises:
        ConfigError: If names are unknown or named twice, do not fit the shapes, or the default is not clear.
    """
    specs, shapes = as_specs(modalities), shapes_of(modalities)
    maps = [name for name, spec in specs.items() if spec.kind in MAPS]
    known = {name for name in maps if specs[name].kind == "points" or name in rays}
    for argument, names in (("images", images), ("points", points)):
        if unknown := sorted(set(names or ()) - set(maps)):
            raise ConfigError(
                f"Expected `{argument}` of FrameAugmentation to be some of the data's maps (channels, H, W), {maps},"
                f" but got {unknown}."
            )
    found = [name for name in maps if name in known and name not in (images or ())] if points is None else points
    if wrong := {name: shapes[name] for name in found if shapes[name][0] != 4}:
        raise ConfigError(f"Expected `points` to be maps (4, H, W) of x, y, z and validity, but got {wrong}.")
    if twice := sorted(set(images or ()) & set(found)):
        raise ConfigError(f"Expected a modality either in `images` or in `points`, but {twice} is in both.")
    rest = [name for name in maps if name not in found]
    unclear = [name for name in rest if shapes[name][0] == 4]
    if images is None and points is None and not known and unclear:
        raise ConfigError(
            f"Expected to know whether {unclear} of four channels are pictures (RGBA) or points (XYZA). Name the"
            " pictures in `images` and the points in `points` of FrameAugmentation."
        )
    pictures = rest if images is None else images
    if not pictures and not found:
        raise ConfigError(
            f"Expected maps (channels, H, W) for FrameAugmentation, but the data has {shapes}. Signals take a"
            " SignalAugmentation."
        )
    return Roles(list(pictures), list(found), [name for name in rest if name not in pictures])
