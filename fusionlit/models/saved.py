"""Reading of checkpoint files."""

from pathlib import Path
from typing import IO, Any
from zipfile import is_zipfile

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from fusionlit.errors import ConfigError


def read_saved(file: str | Path | IO[bytes], weights_only: bool | None = True) -> dict[str, Any]:
    """Content of a checkpoint, on the CPU; tensors of a local file are memory-mapped.

    Args:
        file: Path or URL of the checkpoint, or an open file, whose position is restored.
        weights_only: As in `torch.load`: whether to refuse everything but tensors and plain values.

    Raises:
        ConfigError: If a local file is not in the format of checkpoints.
    """
    saved: dict[str, Any]
    if not isinstance(file, str | Path):
        begin = file.tell()
        saved = torch.load(file, map_location="cpu", weights_only=weights_only)
        file.seek(begin)
    elif Path(file).is_file():
        if not is_zipfile(file):
            raise ConfigError(f"Expected {file} to be a checkpoint, but it is damaged, or another kind of file.")
        saved = torch.load(file, map_location="cpu", weights_only=weights_only, mmap=True)
    else:
        saved = TorchCheckpointIO().load_checkpoint(file, weights_only=weights_only)
    return saved
