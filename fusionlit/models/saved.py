"""What a checkpoint file holds."""

from pathlib import Path
from typing import IO, Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO


def read_saved(file: str | Path | IO[bytes], weights_only: bool | None = True) -> dict[str, Any]:
    """What a checkpoint holds, on the CPU; the tensors of a local file stay there until they are used.

    Args:
        file: Path or address of the checkpoint, or an open file, which is left where it was.
        weights_only: As of `torch.load`: whether to refuse everything but tensors and plain values.
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
