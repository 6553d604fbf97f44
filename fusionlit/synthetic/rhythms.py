"""Rhythms in sensor windows, the basis of `signals` and `joint_signals`.

A window lasts 2.56 s. Channel c of sensor s holds K rhythms of complex strengths u, and white noise n of unit variance:

    x[s, c](t) = sum_k Re(u[s, k] g[s, k, c] exp(2 pi i f_k t)) + SENSOR_NOISE * n[s, c](t),

with gains g, unit vectors over the channels. A window contains whole periods of each rhythm, so that rhythms are
orthogonal. The matched filter is then a sufficient statistic of u,

    z[s, k] = 2 / T sum_c conj(g[s, k, c]) sum_t x[s, c](t) exp(-2 pi i f_k t) = u[s, k] + noise of power `leak`.
"""

import numpy as np
from numpy.typing import NDArray

Complex = NDArray[np.complex128]
Reals = NDArray[np.float64]

DURATION = 2.56
"""Duration of a window (s)."""
CHANNELS = 3
SENSOR_NOISE = 0.5
"""Standard deviation of the white noise on every sample."""


def draw_gains(rng: np.random.Generator, rhythms: int) -> Complex:
    """Draw gains `(K, C)`, unit vectors over the channels."""
    gains = complex_normal(rng, (rhythms, CHANNELS))
    gains /= np.linalg.norm(gains, axis=1, keepdims=True)
    return gains


def make_carriers(gains: Complex, rhythms: Reals, rate: float) -> Complex:
    """Carriers `g exp(2 pi i f t)`, `(K, C, T)`.

    Args:
        gains: `(K, C)`.
        rhythms: Frequencies (Hz), `(K,)`.
        rate: Sampling rate (Hz).
    """
    time = np.arange(round(DURATION * rate)) / rate
    return np.asarray(gains[:, :, None] * np.exp(2j * np.pi * rhythms[:, None, None] * time))


def observe(strength: Complex, carriers: Complex, rng: np.random.Generator) -> Reals:
    """Signal `(C, T)`: the rhythms with their strengths `(K,)`, plus white noise."""
    signal = SENSOR_NOISE * rng.standard_normal(carriers.shape[1:])
    for k in range(len(carriers)):
        signal += (strength[k] * carriers[k]).real
    return signal


def leak(variance: float, rate: float) -> float:
    """Power that white noise leaves in the matched filter: `4 variance / T`."""
    return 4 * variance / round(DURATION * rate)


def complex_normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Complex:
    """Complex normal numbers of unit power, `E |z|^2 = 1`."""
    return np.asarray((rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) / 2**0.5, np.complex128)


def list_gains(gains: Complex) -> list[list[list[float]]]:
    """Gains for JSON: `[real, imaginary]` for every rhythm and channel."""
    return [[[gain.real, gain.imag] for gain in rhythm] for rhythm in gains.tolist()]
