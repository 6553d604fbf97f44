"""Random variations of signals, made on a training batch on its device."""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from fusionlit.errors import ConfigError
from fusionlit.types import Shape


class Augmentation:
    """Jitter, scale, time shift and channel dropout of signals `(B, C, T)`.

    For sample b, modality m, channel c and time t, with n and n' standard normal and independent, in this order:

    - jitter: `x + jitter * std_t(x[b, c]) * n[b, c, t]`, so that a quiet window stays quiet;
    - scale: `x * (1 + scale * n'[b, c])`;
    - time shift: `x[b, c, (t - k) mod T]`, `k = round(u[b] * T)` samples with u uniform in [-time_shift, time_shift];
      u is the same for all modalities of a sample, so that sensors stay aligned (to half a sample of each rate);
    - channel dropout: 0 in every channel of a sample with this probability, as a dead sensor would read.

    What is 0 changes nothing, bit for bit, and draws no random numbers.

    Source: Um et al., "Data augmentation of wearable sensor data for Parkinson's disease monitoring using convolutional
    neural networks", 2017 (jitter, scale).

    Args:
        jitter: Standard deviation of the added noise, as a share of that of the channel in its window.
        scale: Standard deviation of the factor of each channel around 1.
        time_shift: Largest shift, as a share of the window; at most 0.5. What leaves on one side enters on the other.
        channel_dropout: Probability that a channel is zeroed; below 1.
        modalities: The ones to vary; default: all, which must then be signals `(channels, time)`.

    Raises:
        ConfigError: If a number is out of its range.
    """

    def __init__(
        self,
        jitter: float = 0.0,
        scale: float = 0.0,
        time_shift: float = 0.0,
        channel_dropout: float = 0.0,
        modalities: list[str] | None = None,
    ) -> None:
        if not all(math.isfinite(value) and value >= 0 for value in (jitter, scale)):
            raise ConfigError(f"Expected `jitter` and `scale` to be finite and >= 0, but got {jitter=} and {scale=}.")
        if not 0 <= time_shift <= 0.5:
            raise ConfigError(
                f"Expected `time_shift` to be a share of the window from 0 to 0.5, but got {time_shift}. For a shift in"
                " seconds, divide it by the length of the window."
            )
        if not 0 <= channel_dropout < 1:
            raise ConfigError(f"Expected `channel_dropout` to be a probability below 1, but got {channel_dropout}.")
        self.jitter = jitter
        self.scale = scale
        self.time_shift = time_shift
        self.channel_dropout = channel_dropout
        self.modalities = modalities

    def check(self, shapes: Mapping[str, Shape]) -> None:
        """Refuse modalities that cannot be varied.

        Raises:
            ConfigError: If a modality named here is not in the data, or one to vary is no signal `(channels, time)`.
        """
        if unknown := sorted(set(self.modalities or ()) - set(shapes)):
            raise ConfigError(
                f"Expected `modalities` of Augmentation to be some of the data's, {list(shapes)}, but got {unknown}."
            )
        for name in self._chosen(shapes):
            if len(shapes[name]) != 2:
                raise ConfigError(
                    f"Expected Augmentation to get signals (channels, time), but {name!r} is {tuple(shapes[name])}."
                    " List those that are signals in its `modalities`."
                )

    def __call__(self, inputs: dict[str, Tensor], seed: Sequence[int]) -> dict[str, Tensor]:
        """Varied inputs; the given ones stay as they are.

        Args:
            inputs: Floats `(B, C, T)` by modality, all on one device; C and T may differ.
            seed: Numbers >= 0 of which alone, and of the device's kind, the random numbers depend.
        """
        chosen = self._chosen(inputs)
        first = next(iter(inputs.values()))
        (state,) = np.random.SeedSequence(list(seed)).generate_state(1, np.uint64)
        generator = torch.Generator(first.device).manual_seed(int(state))
        shift = None
        if self.time_shift:
            uniform = torch.rand(len(first), generator=generator, device=first.device)
            shift = self.time_shift * (2 * uniform - 1)
        return {name: self._vary(x, shift, generator) if name in chosen else x for name, x in inputs.items()}

    def _chosen(self, available: Iterable[str]) -> list[str]:
        return list(available if self.modalities is None else self.modalities)

    def _vary(self, x: Tensor, shift: Tensor | None, generator: torch.Generator) -> Tensor:
        channels = (*x.shape[:2], 1)
        if self.jitter:
            deviation = x.std(-1, correction=0, keepdim=True)
            x = x + self.jitter * deviation * _normal(x.shape, x, generator)
        if self.scale:
            x = x * (1 + self.scale * _normal(channels, x, generator))
        if shift is not None:
            x = roll(x, (shift * x.shape[-1]).round().long())
        if self.channel_dropout:
            kept = torch.rand(channels, generator=generator, device=x.device) >= self.channel_dropout
            x = torch.where(kept, x, 0.0)
        return x


def roll(x: Tensor, shift: Tensor) -> Tensor:
    """Each sample of `x` `(B, C, T)` turned by its own number of samples, `x[b, c, (t - shift[b]) mod T]`."""
    time = torch.arange(x.shape[-1], device=x.device)
    source = (time - shift[:, None]) % x.shape[-1]
    return x.gather(-1, source[:, None].expand_as(x))


def _normal(shape: Sequence[int], like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, device=like.device, dtype=like.dtype)
