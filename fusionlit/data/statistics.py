"""Input statistics: computed over the training split, and stored with its pack."""

import json
import os
import platform
import zlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import torch
from torch import Tensor

from fusionlit.contracts import check_inputs, check_presence
from fusionlit.errors import DataError
from fusionlit.types import Batch, ChannelStatistics, Modalities, ModalitySpec

Statistics = dict[str, ChannelStatistics]


def channel_statistics(batches: Iterable[Batch], modalities: Mapping[str, ModalitySpec]) -> Statistics:
    """Mean and standard deviation of every channel over all samples that have the modality.

    Args:
        batches: Batches of the training split, after `convert`.
        modalities: Modalities to compute statistics for.

    Raises:
        DataError: If no sample has a modality, a value is not finite where it is present, or inputs have other shapes.
    """
    count = dict.fromkeys(modalities, 0)
    total = {name: torch.zeros(spec.shape[0], dtype=torch.float64) for name, spec in modalities.items()}
    square = {name: torch.zeros_like(sums) for name, sums in total.items()}
    for batch in batches:
        check_inputs(batch["inputs"], modalities)
        inputs = {name: batch["inputs"][name] for name in modalities}
        presence = batch.get("presence", {})
        check_presence(presence, batch["inputs"])  # of tokens too, which have no statistics
        for name, x in inputs.items():
            present = presence[name] if name in presence else torch.ones(len(x), dtype=torch.bool)
            check_finite(name, x[present], batch["index"][present])
            channels = x[present].double().transpose(0, 1).flatten(1)
            count[name] += channels.shape[1]
            total[name] += channels.sum(1)
            square[name] += channels.square().sum(1)
    never = [name for name, n in count.items() if n == 0]
    if never:
        raise DataError(f"Expected training samples with each modality, but none have {never}: leave it out.")
    statistics = {}
    for name, n in count.items():
        mean = total[name] / n
        std = (square[name] / n - mean.square()).clamp(min=0).sqrt()
        statistics[name] = ChannelStatistics(mean.float(), std.float())
    return statistics


def check_finite(name: str, x: torch.Tensor, index: torch.Tensor) -> None:
    """Raise DataError unless all inputs `(B, *shape)` are finite: a single NaN would spread to all weights.

    Raises:
        DataError: The message contains the `index` of the samples.
    """
    finite = x.flatten(1).isfinite().all(1)
    if not finite.all():
        raise DataError(
            f"Expected {name!r} to be finite in every training sample, but samples {index[~finite].tolist()} contain"
            " NaN or infinity. Leave these samples out, or mark the modality as missing in `presence`."
        )


def file_in(pack: Path, rows: Tensor, modalities: Modalities, batch_size: int, conversion: str) -> Path:
    """File in the folder of a pack for the statistics of these samples, named after everything they depend on.

    The last bits of a sum depend on its order, so the name includes the batch size, the number of threads, and the
    versions of torch and NumPy; also the code of this package, since a correction may change `convert`.

    Args:
        pack: Folder of the pack; its name identifies the files that were packed.
        rows: Numbers of the training samples, in order.
        modalities: Spec of each modality.
        batch_size: Samples per batch.
        conversion: Text that identifies the conversion of packed values.
    """
    machine = (platform.machine(), torch.backends.cpu.get_cpu_capability(), torch.get_num_threads())
    known = (pack.name, list(modalities.items()), batch_size, conversion, _code(), torch.__version__, np.__version__)
    digest = blake2b(repr((known, machine)).encode() + rows.numpy().tobytes(), digest_size=16).hexdigest()
    return pack / f"statistics-{digest}.json"


def kept(file: Path | None, compute: Callable[[], Statistics]) -> Statistics:
    """Statistics from a file, or else computed, and written to it if possible.

    Args:
        file: Path from `file_in`; a damaged file counts as missing. None: nothing is stored.
        compute: Function that computes the statistics.
    """
    found = None if file is None else _load(file)
    if found is None:
        found = compute()
        if file is not None:
            _save(file, found)
    return found


def _load(file: Path) -> Statistics | None:
    try:
        read = json.loads(file.read_bytes())
        if read["checksum"] != _checksum(file, read["statistics"]):
            return None
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return {
        name: ChannelStatistics(*(torch.tensor(values, dtype=torch.float32) for values in both))
        for name, both in read["statistics"].items()
    }


def _save(file: Path, statistics: Statistics) -> None:
    """Write the file atomically; a read-only folder is not an error."""
    content = {name: [values.tolist() for values in both] for name, both in statistics.items()}
    text = json.dumps({"checksum": _checksum(file, content), "statistics": content})
    unfinished = file.with_suffix(f".{uuid4().hex}")
    with suppress(OSError):
        try:
            with unfinished.open("x", encoding="utf-8") as out:
                out.write(text)
                out.flush()
                os.fsync(out.fileno())
            unfinished.replace(file)
        finally:
            unfinished.unlink(missing_ok=True)


def _checksum(file: Path, content: Any) -> int:  # noqa: ANN401 (any JSON value)
    return zlib.crc32(json.dumps([file.name, content]).encode())


@cache
def _code() -> str:
    """Digest of the source files of the package."""
    package = Path(__file__).parents[1]
    files = sorted(package.rglob("*.py"))
    code = b"".join(f"{file.relative_to(package)}".encode() + file.read_bytes() for file in files)
    return blake2b(code, digest_size=16).hexdigest()
