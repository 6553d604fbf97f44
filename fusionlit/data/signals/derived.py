"""Modalities that are computed from others, on the device, from what is packed."""

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
        sources: Names of these modalities; where one of them is absent, so is the derived one.
    """

    def __init__(self, *sources: str) -> None:
        self.sources = sources

    @abstractmethod
    def shape(self, *sources: Shape) -> Shape:
        """Of the derived modality, from the sources' `(channels, time)`."""

    @abstractmethod
    def __call__(self, *sources: Tensor) -> Tensor:
        """The derived modality `(B, *shape)`, from the sources `(B, channels, time)`."""


class Difference(Derived):
    """`of - minus`, channel by channel: gravity is the total acceleration less that of the body.

    Args:
        of: Modality to subtract from.
        minus: Modality to subtract, of the same shape, unit and order of channels.
    """

    def __init__(self, of: str, minus: str) -> None:
        super().__init__(of, minus)

    def shape(self, *sources: Shape) -> Shape:
        """That of both.

        Raises:
            ConfigError: If they differ.
        """
        of, minus = sources
        if of != minus:
            (a, b) = self.sources
            raise ConfigError(f"Expected Difference of two equal shapes, but {a!r} is {of} and {b!r} is {minus}.")
        return of

    def __call__(self, *sources: Tensor) -> Tensor:
        """`(B, channels, time)`."""
        of, minus = sources
        return of - minus


class Magnitude(Derived):
    """`sqrt(sum_c x[c]^2)`, one channel: what a triaxial sensor measures whichever way it is worn.

    Args:
        of: Modality whose channels are the axes.
    """

    def __init__(self, of: str) -> None:
        super().__init__(of)

    def shape(self, *sources: Shape) -> Shape:
        """`(1, time)`."""
        return (1, *sources[0][1:])

    def __call__(self, *sources: Tensor) -> Tensor:
        """`(B, 1, time)`."""
        magnitude: Tensor = torch.linalg.vector_norm(sources[0], dim=1, keepdim=True)
        return magnitude


def derived_spec(derived: Derived, sources: Sequence[ModalitySpec]) -> ModalitySpec:
    """What a derived modality is: a signal, at the rate and in the unit that all its sources share."""
    shape = derived.shape(*(source.shape for source in sources))
    first = sources[0]
    rate = first.rate_hz if {source.rate_hz for source in sources} == {first.rate_hz} else None
    unit = first.unit if {source.unit for source in sources} == {first.unit} else None
    return ModalitySpec(shape, "signal", rate_hz=rate, unit=unit)


class Derivation:
    """What a model gets: the packed modalities, then the derived ones, each of which may use those before it.

    Args:
        packed: What each packed modality is, a signal `(channels, time)`.
        derived: By name.
        keep: Names of the ones to give to the model, in this order; default: all.

    Raises:
        ConfigError: If a name is taken or unknown, or shapes do not fit.
    """

    def __init__(self, packed: Modalities, derived: Mapping[str, Derived] | None, keep: list[str] | None) -> None:
        found = as_specs(packed)
        self._derived = dict(derived or {})
        for name, each in self._derived.items():
            if name in packed:
                raise ConfigError(
                    f"Expected `derived` to name new modalities, but {name!r} is one of the data. Choose another name."
                )
            if unknown := [source for source in each.sources if source not in found]:
                raise ConfigError(
                    f"Expected {name!r} in `derived` to be computed from modalities before it, {list(found)}, but got"
                    f" {unknown}."
                )
            found[name] = derived_spec(each, [found[source] for source in each.sources])
        if keep is not None and (not keep or len(set(keep)) < len(keep) or not set(keep) <= set(found)):
            raise ConfigError(f"Expected `keep` to name some of {list(found)}, each once, but got {keep}.")
        self.specs = {name: found[name] for name in keep or found}
        """What each modality is that the model gets."""

    @property
    def recipe(self) -> str | None:
        """Text of what is made of packed values; None where a class that is not ours makes something of them."""
        if not {type(each) for each in self._derived.values()} <= {Difference, Magnitude}:
            return None
        derived = [(name, type(each).__name__, each.sources) for name, each in self._derived.items()]
        return repr((derived, list(self.specs)))

    def inputs(self, packed: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`(B, channels, time)` of each modality that the model gets."""
        found = dict(packed)
        for name, each in self._derived.items():
            found[name] = each(*(found[source] for source in each.sources))
        return {name: found[name] for name in self.specs}

    def presence(self, packed: Mapping[str, NDArray[np.bool_]]) -> dict[str, NDArray[np.bool_]]:
        """`(n,)` of each modality that the model gets; empty if all samples have all of them."""
        if not packed:
            return {}
        found = dict(packed)
        for name, each in self._derived.items():
            found[name] = np.all([found[source] for source in each.sources], axis=0)
        kept = {name: found[name] for name in self.specs}
        return {} if all(there.all() for there in kept.values()) else kept
