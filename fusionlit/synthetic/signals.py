"""Signals of several sensors, and their truth: how much information each has about the class.

A window lasts 2.56 s. The K classes are K rhythms (Hz). Every sensor contains all rhythms, each with a random strength
and phase; that of the class is stronger. A network must learn which rhythm is the loudest. For sensor s, channel c:

    x[s, c](t) = sum_k Re(u[s, k] g[s, k, c] exp(2 pi i f_k t)) + SENSOR_NOISE * n[s, c](t),
    u[s, k] = a_s exp(i phi_s) [k = class] + b[s, k],

with b complex normal of unit power, phi uniform, n standard normal, everything independent; the gains g, unit vectors
over the channels, are drawn from the seed. `redundant` is not an independent sensor: it is `strong` with additional
rhythms and noise, so it is informative about the class, but adds nothing to `strong`. `noise` has a = 0.
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from fusionlit.synthetic.bayes import Evidence, accuracies
from fusionlit.synthetic.rhythms import (
    DURATION,
    SENSOR_NOISE,
    Complex,
    complex_normal,
    draw_gains,
    leak,
    list_gains,
    make_carriers,
    observe,
)

Floats = NDArray[np.float32]

FILES = ("truth.json", "signals.npz")
RHYTHMS = np.array([4, 9, 16, 26]) / DURATION
"""Frequency of each class (Hz)."""
COPY_POWER = 1.0
"""Power of each rhythm that `redundant` adds to its copy of `strong`."""
RATES = {"strong": 50.0, "weak": 50.0, "redundant": 50.0, "noise": 50.0}
"""Sampling rate of each sensor (Hz): 128 samples per window."""
MIXED_RATES = {"strong": 50.0, "weak": 100.0, "redundant": 25.0, "noise": 25.0}
SNR = {"strong": 5.0, "weak": 2.0, "noise": 0.0}
"""Ratio of `a_s^2` to the noise power in the matched filter, on which alone the accuracy depends."""


class Sensor(NamedTuple):
    """A sensor, as described in `truth.json`.

    Args:
        rate: Sampling rate (Hz).
        amplitude: Amplitude `a_s` of the rhythm of the class.
        power: Total noise power in one output of the matched filter.
        gains: `(K, C)` complex; unit norm over the channels.
        copy_of: The sensor of which this is a noisy copy, if any.
    """

    rate: float
    amplitude: float
    power: float
    gains: Complex
    copy_of: str | None = None

    @property
    def carriers(self) -> Complex:
        """Carriers `g exp(2 pi i f t)`, `(K, C, T)`."""
        return make_carriers(self.gains, RHYTHMS, self.rate)


def make_sensors(seed: int, rates: dict[str, float]) -> dict[str, Sensor]:
    """The four sensors of a data set; only their gains depend on the seed."""
    rng = np.random.default_rng(seed)
    sensors = {}
    for name, snr in SNR.items():
        gains = draw_gains(rng, len(RHYTHMS))
        power = 1 + leak(SENSOR_NOISE**2, rates[name])
        sensors[name] = Sensor(rates[name], (snr * power) ** 0.5, power, gains)
    strong, rate = sensors["strong"], rates["redundant"]
    power = 1 + COPY_POWER + leak(2 * SENSOR_NOISE**2, rate)
    sensors["redundant"] = Sensor(rate, strong.amplitude, power, strong.gains, copy_of="strong")
    return {name: sensors[name] for name in rates}


def draw_window(
    sensors: dict[str, Sensor], carriers: dict[str, Complex], label: int, seed: int, index: int
) -> dict[str, Floats]:
    """Draw one window `(C, T)` of every sensor; it depends only on the arguments."""
    rng = np.random.default_rng((seed, index))
    signals = {}
    for name in SNR:
        strength = complex_normal(rng, (len(RHYTHMS),))
        strength[label] += sensors[name].amplitude * np.exp(2j * np.pi * rng.random())
        signals[name] = observe(strength, carriers[name], rng)
    step = round(sensors["strong"].rate / sensors["redundant"].rate)
    added = COPY_POWER**0.5 * complex_normal(rng, (len(RHYTHMS),))
    signals["redundant"] = signals["strong"][:, ::step] + observe(added, carriers["redundant"], rng)
    return {name: signals[name].astype(np.float32) for name in sensors}


def write_signals(root: Path, frames: int, seed: int, rates: dict[str, float] = RATES) -> None:
    """Write `truth.json`, then `signals.npz`, to the folder `root`.

    Args:
        root: An existing folder.
        frames: Windows per class.
        seed: Seed of gains and windows.
        rates: Sampling rate of each sensor (Hz); that of `redundant` must divide that of `strong`.
    """
    sensors = make_sensors(seed, rates)
    (root / "truth.json").write_text(json.dumps(describe(sensors), indent=1) + "\n", encoding="utf-8")
    carriers = {name: sensor.carriers for name, sensor in sensors.items()}
    target = np.tile(np.arange(len(RHYTHMS)), frames)
    arrays = {name: np.empty((len(target), *wave.shape[1:]), np.float32) for name, wave in carriers.items()}
    for index in track(range(len(target)), description="rendering"):
        for name, window in draw_window(sensors, carriers, int(target[index]), seed, index).items():
            arrays[name][index] = window
    groups = np.array([f"{index // len(RHYTHMS):04d}" for index in range(len(target))])
    np.savez(root / "signals.npz", allow_pickle=False, **arrays, target=target, groups=groups)


def describe(sensors: dict[str, Sensor]) -> dict[str, object]:
    """Content of `truth.json`: everything that the optimal rule needs, and its accuracy for every set of sensors."""
    evidence = {name: Evidence(sensor.amplitude, sensor.power) for name, sensor in sensors.items()}
    copies = {name: sensor.copy_of for name, sensor in sensors.items() if sensor.copy_of}
    return {
        "duration_s": DURATION,
        "rhythms_hz": RHYTHMS.tolist(),
        "chance": 1 / len(RHYTHMS),
        "sensors": {
            name: {
                "rate_hz": sensor.rate,
                "copy_of": sensor.copy_of,
                "snr": round(sensor.amplitude**2 / sensor.power, 6),
                "amplitude": sensor.amplitude,
                "power": sensor.power,
                "gains": list_gains(sensor.gains),
            }
            for name, sensor in sensors.items()
        },
        "accuracy": accuracies(evidence, copies, len(RHYTHMS)),
    }
