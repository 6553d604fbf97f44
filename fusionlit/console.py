"""Console output: progress bars, and a way to silence Lightning."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from lightning.pytorch.utilities import rank_zero_only
from rich.progress import track

Item = TypeVar("Item")


def progress(items: Iterable[Item], description: str, total: int | None = None) -> Iterable[Item]:
    """Iterate with a progress bar that disappears at the end; `total` is needed if `items` has no length."""
    return track(items, description, total, transient=True, disable=getattr(rank_zero_only, "rank", 0) > 0)


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Hide Lightning's info messages about devices and loops; warnings are still shown."""
    loggers = [logging.getLogger(name) for name in ("lightning.fabric", "lightning.pytorch")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
