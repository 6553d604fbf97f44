"""Reading and checking the modality arrays of an NPZ file."""

import numpy as np
from numpy.typing import NDArray

from fusionlit.contracts import check_spec
from fusionlit.errors import DataError
from fusionlit.storage.mapped import MappedArray
from fusionlit.storage.npz import Array, NpzFile
from fusionlit.storage.rows import BLOCK
from fusionlit.types import ModalityKind, ModalitySpec

PRESENCE = "presence_"
"""Prefix of the name of a modality's presence mask."""


def find_spec(file: NpzFile, name: str, samples: int, kind: ModalityKind | None) -> ModalitySpec:
    """Spec of a modality, from the header of its array and its kind, if given.

    Raises:
        DataError: If the array does not contain numbers (tokens: integers), its samples are scalars or empty, or their
            number is wrong.
        ConfigError: If the kind does not fit the shape.
    """
    header = file.headers[name]
    if header.dtype.kind not in "fiub" or header.dtype.itemsize > 8:
        problem = f"expected numbers, but got {header}. Encode the array as numbers"
    elif len(header.shape) < 2 or 0 in header.shape:
        problem = (
            f"expected (samples, ...) with at least one value per sample, but got {header}. For one number per sample,"
            " save `x[:, None]`"
        )
    elif header.shape[0] != samples:
        problem = f"expected {samples} samples, like the target, but got {header}. Save both again"
    elif kind == "tokens" and header.dtype.kind not in "iu":
        problem = f"expected integer tokens, but got {header}. Save them with `.astype(int)`"
    else:
        spec = ModalitySpec(header.shape[1:], kind)
        check_spec(name, spec)
        return spec
    raise DataError(f"{file.where(name)}: {problem}, or leave it out by listing the others in `modalities`.")


def check_presence(file: NpzFile, samples: int) -> None:
    """Raise DataError unless every presence mask is bool `(samples,)` and belongs to an array.

    Raises:
        DataError: The message names the array.
    """
    for name, header in file.headers.items():
        if not name.startswith(PRESENCE):
            continue
        if name.removeprefix(PRESENCE) not in file.headers:
            raise DataError(
                f"{file.where(name)}: expected the name of a modality after {PRESENCE!r}, but there is no array"
                f" {name.removeprefix(PRESENCE)!r}. Rename it."
            )
        if header[:2] != ((samples,), np.dtype(bool)):
            raise DataError(
                f"{file.where(name)}: expected {(samples,)} bool, true where the sample has the modality, but got"
                f" {header}. Save it with `.astype(bool)`."
            )


def read_modality(file: NpzFile, name: str) -> tuple[Array | MappedArray, NDArray[np.bool_]]:
    """Values `(n, *shape)` of a modality, and its presence mask `(n,)`.

    Raises:
        DataError: If a value is NaN or infinite where the modality is present.
    """
    values = file.map(name)
    marked = f"{PRESENCE}{name}" in file.headers
    present = file.read(f"{PRESENCE}{name}") if marked else np.ones(len(values), bool)
    shape, dtype, _ = file.headers[name]
    step = max(1, BLOCK // (dtype.itemsize * int(np.prod(shape[1:]))))
    finite = [
        np.isfinite(values[k : k + step]).all(axis=tuple(range(1, len(shape)))) for k in range(0, len(values), step)
    ]
    bad = np.flatnonzero(present & ~np.concatenate(finite))
    if len(bad):
        raise DataError(
            f"{file.where(name)}: expected finite numbers, but {len(bad)} of {len(values)} samples contain NaN or"
            f" infinity, the first is sample {bad[0]}. Fill these values, or mark the samples that have this modality"
            f" in a bool array {PRESENCE + name!r}."
        )
    return values, present
