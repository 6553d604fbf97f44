"""Reading of checkpoint files."""

from pathlib import Path
from typing import IO, Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO


def read_saved(file: str | Path | IO[bytes], weights_only: bool | None = True) -> dict[str, Any]:
    """Content of a checkpoint, on the CPU; tensors of a local file are memory-mapped.

    Args:
        file: Path or URL of the checkpoint, or an open file, whose position is restored.
        weights_only: As in `torch.load`: whether to refuse everything but tensors and plain values.
    """
    saved: dict[str, Any]
    if not isinstance(file, str | Path):
        begin = file.tell()
        saved = torch.load(file, map_location="cpu", weights_only=weights_only)
        file.seek(begin)
    elif Path(file).is_file():
        saved = torch.load(file, map_location="cpu", weights_only=weights_only, mmap=True)
    else:
        saved = TorchCheckpointIO().load_checkpoint(file, weights_only=weights_only)
    return saved
