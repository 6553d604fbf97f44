"""Augmentation of signals."""

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from fusionlit.data.augment.base import Augmentation, normal, seeded, uniform
from fusionlit.data.augment.rotation import random_rotations, rotate
from fusionlit.errors import ConfigError
from fusionlit.types import Modalities, TargetSpec, as_specs


class SignalAugmentation(Augmentation):
    """Rotation, jitter, scale, time shift and channel dropout of signals `(B, C, T)`.

    For sample b, channel c and time t of each modality, with n and n' standard normal and independent, in this order:

    - rotation: `R[b] x[b, :, t]`, as if the device were worn differently. The axis of R is uniform on the sphere, its
      angle uniform in [-rotation, rotation]. R is the same for all triaxial sensors of a sample;
    - jitter: `x + jitter * std_t(x[b, c]) * n[b, c, t]`, so that a quiet window stays quiet;
    - scale: `x * (1 + scale * n'[b, c])`;
    - time shift: `x[b, c, (t - k) mod T]`, `k = round(u[b] * T)` samples with u uniform in [-time_shift, time_shift];
      u is the same for all modalities of a sample, so that sensors stay aligned (to half a sample of each rate);
    - channel dropout: sets each channel of a sample to 0 with this probability, like a dead sensor.

    A setting of 0 changes nothing, bit for bit, and draws no random numbers.

    Source: Um et al., "Data augmentation of wearable sensor data for Parkinson's disease monitoring using convolutional
    neural networks", 2017 (rotation, jitter, scale).

    Args:
        jitter: Standard deviation of the added noise, relative to that of the channel in its window.
        scale: Standard deviation of the factor of each channel around 1.
        time_shift: Largest shift, as a fraction of the window; at most 0.5. The shift is circular.
        channel_dropout: Probability that a channel is set to zero; below 1.
        modalities: Names of the modalities to augment; default: all signals `(channels, time)`.
        rotation: Largest rotation angle of triaxial sensors (degrees); at most 180. Even with 180, small angles are
            more likely than with rotations uniform in SO(3).
        rotated: Names of the triaxial sensors of one device, with channels x, y, z in the same frame; six or nine
            channels are two or three such triples. Default: every augmented modality with three channels.

    Raises:
        ConfigError: If a number is out of range.
    """

    def __init__(
        self,
        jitter: float = 0.0,
        scale: float = 0.0,
        time_shift: float = 0.0,
        channel_dropout: float = 0.0,
        modalities: list[str] | None = None,
        rotation: float = 0.0,
        rotated: list[str] | None = None,
    ) -> None:
        if not all(math.isfinite(value) and value >= 0 for value in (jitter, scale)):
            raise ConfigError(f"Expected `jitter` and `scale` to be finite and >= 0, but got {jitter=} and {scale=}.")
        if not 0 <= time_shift <= 0.5:
            raise ConfigError(
                f"Expected `time_shift` to be a fraction of the window from 0 to 0.5, but got {time_shift}. Divide a"
                " shift in seconds by the length of the window."
            )
        if not 0 <= channel_dropout < 1:
            raise ConfigError(f"Expected `channel_dropout` to be a probability below 1, but got {channel_dropout}.")
        if not 0 <= rotation <= 180:
            raise ConfigError(f"Expected `rotation` to be an angle from 0 to 180 degrees, but got {rotation}.")
        self.jitter = jitter
        self.scale = scale
        self.time_shift = time_shift
        self.channel_dropout = channel_dropout
        self.modalities = modalities
        self._signals: list[str] | None = None
        self.rotation = rotation
        self.rotated = rotated

    def check(self, modalities: Modalities, target: TargetSpec | None, rays: Mapping[str, Tensor]) -> None:
        """Check that the named modalities can be augmented.

        Raises:
            ConfigError: If a named modality is not in the data or not a signal `(channels, time)`, or one to rotate
                does not consist of triples of channels.
        """
        if unknown := sorted(set(self.modalities or ()) - set(modalities)):
            raise ConfigError(
                f"Expected `modalities` of SignalAugmentation to name modalities of the data, some of"
                f" {list(modalities)}, but got {unknown}."
            )
        specs = as_specs(modalities)
        self._signals = [name for name, spec in specs.items() if spec.kind == "signal"]
        chosen = self._chosen(modalities)
        named = {name: specs[name] for name in chosen or specs}
        if others := {name: (x.kind, x.shape) for name, x in named.items() if name not in self._signals}:
            raise ConfigError(
                f"Expected signals (channels, time) for SignalAugmentation, but got {others}. Name the signals in its"
                " `modalities`; use FrameAugmentation for images."
            )
        if unknown := sorted(set(self.rotated or ()) - set(chosen)):
            raise ConfigError(f"Expected `rotated` to name augmented modalities, some of {chosen}, but got {unknown}.")
        channels = {name: specs[name].shape[0] for name in chosen}
        if wrong := {name: channels[name] for name in self.rotated or () if channels[name] % 3}:
            raise ConfigError(
                f"Expected `rotated` to name sensors with channels x, y, z, but got modalities with {wrong} channels."
            )
        if self.rotation and not self.rotated and 3 not in channels.values():
            raise ConfigError(
                f"Expected a modality with three channels for `rotation`, but their numbers of channels are {channels}."
                " Group x, y, z of a sensor in the data's `modalities`, or leave out `rotation`."
            )

    def __call__(self, inputs: dict[str, Tensor], seed: Sequence[int]) -> dict[str, Tensor]:
        """Augmented inputs; the given tensors are not changed.

        Args:
            inputs: Floats `(B, C, T)` by modality, all on one device; C and T may differ.
            seed: Numbers >= 0; the random numbers depend only on them and on the type of device.
        """
        chosen = self._chosen(inputs)
        first = next(iter(inputs.values()))
        generator = seeded(seed, first.device)
        shift = uniform(len(first), self.time_shift, generator) if self.time_shift else None
        varied = {name: inputs[name] for name in chosen}
        if self.rotation:
            rotation = random_rotations(len(first), self.rotation, generator)
            triaxial = [name for name in chosen if inputs[name].shape[1] == 3] if self.rotated is None else self.rotated
            varied |= {name: rotate(inputs[name], rotation) for name in triaxial}
        # In the order of the inputs, since the random numbers depend on it.
        return {name: self._vary(varied[name], shift, generator) if name in chosen else x for name, x in inputs.items()}

    def _chosen(self, available: Iterable[str]) -> list[str]:
        signals = available if self._signals is None else self._signals
        return list(signals if self.modalities is None else self.modalities)

    def _vary(self, x: Tensor, shift: Tensor | None, generator: torch.Generator) -> Tensor:
        channels = (*x.shape[:2], 1)
        if self.jitter:
            deviation = x.std(-1, correction=0, keepdim=True)
            x = x + self.jitter * deviation * normal(x.shape, x, generator)
        if self.scale:
            x = x * (1 + self.scale * normal(channels, x, generator))
        if shift is not None:
            x = roll(x, (shift * x.shape[-1]).round().long())
        if self.channel_dropout:
            kept = torch.rand(channels, generator=generator, device=x.device) >= self.channel_dropout
            x = torch.where(kept, x, 0.0)
        return x


def roll(x: Tensor, shift: Tensor) -> Tensor:
    """Shift each sample of `x` `(B, C, T)` circularly by its own shift, `x[b, c, (t - shift[b]) mod T]`."""
    time = torch.arange(x.shape[-1], device=x.device)
    source = (time - shift[:, None]) % x.shape[-1]
    return x.gather(-1, source[:, None].expand_as(x))
