"""The samples of an NPZ file: what a modality's array must be like."""

import numpy as np
from numpy.typing import NDArray

from fusionlit.contracts import check_spec
from fusionlit.errors import DataError
from fusionlit.storage.mapped import MappedArray
from fusionlit.storage.npz import Array, NpzFile
from fusionlit.storage.rows import BLOCK
from fusionlit.types import ModalityKind, ModalitySpec

PRESENCE = "presence_"
"""Begins the name of the array that tells which samples have a modality."""


def find_spec(file: NpzFile, name: str, samples: int, kind: ModalityKind | None) -> ModalitySpec:
    """What a modality is, by the header of its array and, where it is given, its kind.

    Raises:
        DataError: If the array does not hold numbers (tokens: integers), has scalars for samples, or another number of
            them.
        ConfigError: If the kind does not fit the shape.
    """
    header = file.headers[name]
    if header.dtype.kind not in "fiub" or header.dtype.itemsize > 8:
        problem = f"expected numbers, but got {header}. Encode it as numbers"
    elif len(header.shape) < 2 or 0 in header.shape:
        problem = (
            f"expected (samples, ...) with something in every sample, but got {header}. For one number a sample save"
            " `x[:, None]`"
        )
    elif header.shape[0] != samples:
        problem = f"expected {samples} samples, as the target has, but got {header}. Save them together again"
    elif kind == "tokens" and header.dtype.kind not in "iu":
        problem = f"expected tokens as integers, but got {header}. Save them with `.astype(int)`"
    else:
        spec = ModalitySpec(header.shape[1:], kind)
        check_spec(name, spec)
        return spec
    raise DataError(f"{file.where(name)}: {problem}, or leave it out by listing the others in `modalities`.")


def check_presence(file: NpzFile, samples: int) -> None:
    """Refuse arrays of presence that are not bool `(samples,)`, or belong to nothing.

    Raises:
        DataError: Naming the array.
    """
    for name, header in file.headers.items():
        if not name.startswith(PRESENCE):
            continue
        if name.removeprefix(PRESENCE) not in file.headers:
            raise DataError(
                f"{file.where(name)}: expected the name of a modality behind {PRESENCE!r}, but there is no array"
                f" {name.removeprefix(PRESENCE)!r}. Rename it."
            )
        if header[:2] != ((samples,), np.dtype(bool)):
            raise DataError(
                f"{file.where(name)}: expected {(samples,)} bool, true where the sample has the modality, but got"
                f" {header}. Save it with `.astype(bool)`."
            )


def read_modality(file: NpzFile, name: str) -> tuple[Array | MappedArray, NDArray[np.bool_]]:
    """Values `(n, *shape)` of a modality to gather from and, `(n,)`, which samples have it.

    Raises:
        DataError: If a sample that has the modality holds NaN or infinite values.
    """
    values = file.map(name)
    marked = f"{PRESENCE}{name}" in file.headers
    there = file.read(f"{PRESENCE}{name}") if marked else np.ones(len(values), bool)
    shape, dtype, _ = file.headers[name]
    step = max(1, BLOCK // (dtype.itemsize * int(np.prod(shape[1:]))))
    finite = [
        np.isfinite(values[k : k + step]).all(axis=tuple(range(1, len(shape)))) for k in range(0, len(values), step)
    ]
    bad = np.flatnonzero(there & ~np.concatenate(finite))
    if len(bad):
        raise DataError(
            f"{file.where(name)}: expected finite numbers, but {len(bad)} of {len(values)} samples have NaN or infinite"
            f" ones, the first {bad[0]}. Fill them, or say with a bool array {PRESENCE + name!r} which samples have"
            " this modality."
        )
    return values, there
