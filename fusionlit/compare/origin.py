"""The origin of a row of results: fingerprints of configuration, data and splits."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusionlit.cli.run import Config, Run
from fusionlit.data import FusionDataModule
from fusionlit.data.array_dataset import ArrayDataset
from fusionlit.errors import ConfigError
from fusionlit.storage.pack.manifest import Manifest
from fusionlit.types import SPLITS, Split, as_specs

OUTPUTS = ("default_root_dir", "dirpath", "logger", "pack", "save_dir", "write_split")
"""Arguments that name output paths, which do not affect the results."""
FINGERPRINTED = 64
"""Number of samples whose values enter the fingerprint of data without a pack."""


@dataclass(frozen=True)
class Origin:
    """Configuration, data and splits of a run; the seed is not included.

    Args:
        configuration: Whole configuration, without seed and output paths.
        data: Fingerprint of the data set.
        split: Fingerprint of the samples of each split.
        hash: Fingerprint of the configuration.
    """

    configuration: Config
    data: str
    split: str
    hash: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "hash", digest(self.configuration))

    def differences(self, other: "Origin") -> list[str]:
        """Differences from another origin, one text per field; empty if there are none."""
        before, now = dict(_leaves(self.configuration, "")), dict(_leaves(other.configuration, ""))
        found = [
            f"{name} was {_shown(before, name)}, now {_shown(now, name)}"
            for name in {**before, **now}
            if _shown(before, name) != _shown(now, name)
        ]
        if found:
            return found
        parts = {"the data set": (self.data, other.data), "the split": (self.split, other.split)}
        return [f"{what} has changed, with the same configuration" for what, (a, b) in parts.items() if a != b]


def origin_of(run: Run) -> "Origin":
    """Origin of a run; sets up its data."""
    return Origin(canonical(run.config), *look_at(run.datamodule))


def canonical(config: Config) -> Config:
    """A whole configuration without seed and output paths."""
    kept = {}
    for name, part in config.items():
        if name == "data":
            arguments = {key: value for key, value in (part.get("init_args") or {}).items() if key not in OUTPUTS}
            kept[name] = {**part, "init_args": arguments}
        elif name != "seed_everything":
            # A modality may be called as one of them, so that they may be names in a model.
            kept[name] = part if name == "model" else _without_outputs(part)
    return kept


def look_at(data: FusionDataModule) -> tuple[str, str]:
    """Fingerprints of a data set and of its splits; sets up the data module.

    For packed data, the first covers every value; for other arrays, it covers shapes, all targets and the values of 64
    evenly spaced samples. For any other data set, both cover the sizes of the splits and 64 evenly spaced samples of
    each.
    """
    packed = data.pack()
    for stage in ("fit", "test"):
        data.setup(stage)
    about: list[Any] = [
        [asdict(spec) for spec in as_specs(data.modalities).values()],
        list(data.modalities),
        data.target,
    ]
    datasets = {split: each for split in SPLITS if (each := _dataset(data, split)) is not None}
    arrays = next((each for each in datasets.values() if isinstance(each, ArrayDataset)), None)
    if packed is not None:
        manifest = Manifest.load(packed.folder)
        about += [manifest.columns, manifest.checksums, manifest.bad]
    if arrays is not None:
        rows = _spread(len(arrays.targets))
        about += [_text(arrays.targets), {name: _text(present) for name, present in arrays.presence.items()}]
        if packed is None:
            about.append({name: _text(values[rows]) for name, values in arrays.inputs.items()})
        return digest(about), digest({split: _text(each.rows) for split, each in datasets.items()})
    samples = {
        split: [len(each), *(_text(each[int(i)]) for i in _spread(len(each)))] for split, each in datasets.items()
    }
    return digest([*about, samples]), digest(samples)


def digest(content: Any) -> str:  # noqa: ANN401 (any JSON value)
    """Short fingerprint of a JSON value."""
    return sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _dataset(data: FusionDataModule, split: Split) -> Any | None:  # noqa: ANN401 (a data set with a length)
    try:
        return data.dataset(split)
    except ConfigError:  # the split is empty
        return None


def _spread(size: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, size - 1, min(size, FINGERPRINTED)).astype(np.int64))


def _text(value: Any) -> Any:  # noqa: ANN401 (a sample or a part of one)
    """Values as JSON: an array as its type, its shape and a fingerprint of its bytes."""
    if isinstance(value, dict):
        return {str(key): _text(item) for key, item in value.items()}
    array = np.ascontiguousarray(value)
    return [str(array.dtype), list(array.shape), sha256(array.tobytes()).hexdigest()]


def _without_outputs(part: Any) -> Any:  # noqa: ANN401 (any part of a configuration)
    if isinstance(part, dict):
        return {key: _without_outputs(value) for key, value in part.items() if key not in OUTPUTS}
    return [_without_outputs(each) for each in part] if isinstance(part, list) else part


def _leaves(part: Any, name: str) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 (any part of a configuration)
    """Every value of a configuration, with its name on the command line."""
    items = list(part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ())
    if not items:
        yield name, part
    for key, value in items:
        yield from _leaves(value, name if key == "init_args" else f"{name}.{key}".lstrip("."))


def _shown(leaves: dict[str, Any], name: str) -> str:
    return json.dumps(leaves[name], default=str) if name in leaves else "missing"
