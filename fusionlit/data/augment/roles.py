"""Assignment of modalities to images and points."""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from fusionlit.errors import ConfigError
from fusionlit.types import Modalities, as_specs, shapes_of

MAPS = ("image", "depth", "points")
"""Modality kinds that are maps `(channels, H, W)`."""


class Roles(NamedTuple):
    """Names of the modalities that are maps `(channels, H, W)`.

    Args:
        images: Images.
        points: XYZA maps.
        others: Maps that are not changed.
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
    """Find images and points, by the given names or by kind and rays.

    By default, points are the modalities of kind `points` or with known rays, and images are all other maps; a map of
    four channels (RGBA or XYZA) is ambiguous if no points are known.

    Raises:
        ConfigError: If names are unknown or used twice, shapes do not fit, or the default is ambiguous.
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
        raise ConfigError(f"Expected each modality in either `images` or `points`, but {twice} are in both.")
    rest = [name for name in maps if name not in found]
    unclear = [name for name in rest if shapes[name][0] == 4]
    if images is None and points is None and not known and unclear:
        raise ConfigError(
            f"Expected `images` or `points` of FrameAugmentation to tell whether {unclear}, which have four channels,"
            " are images (RGBA) or points (XYZA), but got neither. Name them there."
        )
    pictures = rest if images is None else images
    if not pictures and not found:
        raise ConfigError(
            f"Expected maps (channels, H, W) for FrameAugmentation, but the data has {shapes}. Use SignalAugmentation"
            " for signals."
        )
    return Roles(list(pictures), list(found), [name for name in rest if name not in pictures])
