"""Derived modalities: computed on the device from the packed ones."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fusionlit.contracts import Whole
from fusionlit.errors import ConfigError
from fusionlit.types import Modalities, ModalitySpec, Shape, as_specs


class Derived(Whole, ABC):
    """A signal `(channels, time)` computed from other modalities of the same windows.

    Args:
        sources: Names of these modalities; if one of them is missing, so is the derived one.
    """

    def __init__(self, *sources: str) -> None:
        self.sources = sources

    @abstractmethod
    def shape(self, *sources: Shape) -> Shape:
        """Shape of the derived modality, from the shapes `(channels, time)` of the sources."""

    @abstractmethod
    def __call__(self, *sources: Tensor) -> Tensor:
        """The derived modality `(B, *shape)`, from the sources `(B, channels, time)`."""


class Difference(Derived):
    """`of - minus`, channel by channel, such as gravity: total minus body acceleration.

    Args:
        of: Modality to subtract from.
        minus: Modality to subtract, with the same shape, unit and order of channels.
    """

    def __init__(self, of: str, minus: str) -> None:
        super().__init__(of, minus)

    def shape(self, *sources: Shape) -> Shape:
        """The shape of both sources.

        Raises:
            ConfigError: If their shapes differ.
        """
        of, minus = sources
        if of != minus:
            (a, b) = self.sources
            raise ConfigError(
                f"Expected two sources of equal shape for Difference, but {a!r} is {of} and {b!r} is {minus}."
            )
        return of

    def __call__(self, *sources: Tensor) -> Tensor:
        """The difference `(B, channels, time)`."""
        of, minus = sources
        return of - minus


class Magnitude(Derived):
    """`sqrt(sum_c x[c]^2)`, one channel: independent of the orientation of a triaxial sensor.

    Args:
        of: Modality whose channels are the axes.
    """

    def __init__(self, of: str) -> None:
        super().__init__(of)

    def shape(self, *sources: Shape) -> Shape:
        """The shape `(1, time)`."""
        return (1, *sources[0][1:])

    def __call__(self, *sources: Tensor) -> Tensor:
        """The magnitude `(B, 1, time)`."""
        magnitude: Tensor = torch.linalg.vector_norm(sources[0], dim=1, keepdim=True)
        return magnitude


def derived_spec(derived: Derived, sources: Sequence[ModalitySpec]) -> ModalitySpec:
    """Spec of a derived modality: a signal, with the rate and the unit of its sources if these agree."""
    shape = derived.shape(*(source.shape for source in sources))
    first = sources[0]
    rate = first.rate_hz if {source.rate_hz for source in sources} == {first.rate_hz} else None
    unit = first.unit if {source.unit for source in sources} == {first.unit} else None
    return ModalitySpec(shape, "signal", rate_hz=rate, unit=unit)


class Derivation:
    """The inputs of the model: packed modalities, then derived ones, each of which may use those before it.

    Args:
        packed: Specs of the packed modalities, signals `(channels, time)`.
        derived: Derived modalities by name.
        keep: Names of the modalities for the model, in this order; default: all.

    Raises:
        ConfigError: If a name is already used or unknown, or shapes do not fit.
    """

    def __init__(self, packed: Modalities, derived: Mapping[str, Derived] | None, keep: list[str] | None) -> None:
        found = as_specs(packed)
        self._derived = dict(derived or {})
        for name, each in self._derived.items():
            if name in packed:
                raise ConfigError(
                    f"Expected `derived` to name new modalities, but the data already has {name!r}. Choose another"
                    " name."
                )
            if unknown := [source for source in each.sources if source not in found]:
                raise ConfigError(
                    f"Expected sources of {name!r} in `derived` among the modalities before it, {list(found)}, but got"
                    f" {unknown}."
                )
            found[name] = derived_spec(each, [found[source] for source in each.sources])
        if keep is not None and (not keep or len(set(keep)) < len(keep) or not set(keep) <= set(found)):
            raise ConfigError(f"Expected `keep` to name some of {list(found)}, each once, but got {keep}.")
        self.specs = {name: found[name] for name in keep or found}
        """Specs of the model's inputs."""

    @property
    def recipe(self) -> str | None:
        """Text that identifies the computation of the inputs; None if a custom class is used."""
        if not {type(each) for each in self._derived.values()} <= {Difference, Magnitude}:
            return None
        derived = [(name, type(each).__name__, each.sources) for name, each in self._derived.items()]
        return repr((derived, list(self.specs)))

    def inputs(self, packed: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The model's inputs `(B, channels, time)`, by modality."""
        found = dict(packed)
        for name, each in self._derived.items():
            found[name] = each(*(found[source] for source in each.sources))
        return {name: found[name] for name in self.specs}

    def presence(self, packed: Mapping[str, NDArray[np.bool_]]) -> dict[str, NDArray[np.bool_]]:
        """Presence masks `(n,)` of the model's inputs, by modality; empty if none is missing."""
        if not packed:
            return {}
        found = dict(packed)
        for name, each in self._derived.items():
            found[name] = np.all([found[source] for source in each.sources], axis=0)
        kept = {name: found[name] for name in self.specs}
        return {} if all(present.all() for present in kept.values()) else kept
