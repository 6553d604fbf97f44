"""A progress bar for work on data, on the first process alone."""

from collections.abc import Iterable
from typing import TypeVar

from lightning.pytorch.utilities import rank_zero_only
from rich.progress import track

Item = TypeVar("Item")


def progress(items: Iterable[Item], description: str, total: int | None = None) -> Iterable[Item]:
    """The items one by one, with a bar that vanishes at the end; `total` is their number, where they do not tell."""
    return track(items, description, total, transient=True, disable=getattr(rank_zero_only, "rank", 0) > 0)
