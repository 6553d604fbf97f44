"""Signals of several sensors, written with the truth about them: how much each of them knows about the class.

A window lasts 2.56 s. The K classes are K rhythms (Hz). Every sensor sees all rhythms, each with a random strength and
phase, and that of the class stronger; which rhythm is the loudest is what a network has to learn. For sensor s, channel
c:

    x[s, c](t) = sum_k Re(u[s, k] g[s, k, c] exp(2 pi i f_k t)) + SENSOR_NOISE * n[s, c](t),
    u[s, k] = a_s exp(i phi_s) [k = class] + b[s, k],

with b complex normal of unit power, phi uniform, n standard normal, everything independent; the gains g, unit vectors
over the channels, are drawn from the seed. `redundant` is no sensor of its own: it is `strong`, with further rhythms
and noise added, so it knows something about the class, but nothing that `strong` does not know. `noise` has a = 0.
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
"""Power of each rhythm that `redundant` adds to what it copies."""
RATES = {"strong": 50.0, "weak": 50.0, "redundant": 50.0, "noise": 50.0}
"""Samples per second of each sensor (Hz): 128 a window."""
MIXED_RATES = {"strong": 50.0, "weak": 100.0, "redundant": 25.0, "noise": 25.0}
SNR = {"strong": 5.0, "weak": 2.0, "noise": 0.0}
"""`a_s^2` over the power of all noise in the matched filter: the one number on which the accuracy depends."""


class Sensor(NamedTuple):
    """One sensor, as `truth.json` describes it.

    Args:
        rate: Samples per second (Hz).
        amplitude: `a_s`, of the class's rhythm.
        power: Of everything random in one output of the matched filter.
        gains: `(K, C)` complex; unit norm over the channels.
        copy_of: The sensor of which this is a noisy copy.
    """

    rate: float
    amplitude: float
    power: float
    gains: Complex
    copy_of: str | None = None

    @property
    def carriers(self) -> Complex:
        """`g exp(2 pi i f t)`, `(K, C, T)`."""
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
    """One window of every sensor, `(C, T)`; it depends on the arguments alone."""
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
    """Write `signals.npz` and, before it, `truth.json` into the folder `root`.

    Args:
        root: An existing folder.
        frames: Windows of each class.
        seed: Seed of gains and windows.
        rates: Samples per second of each sensor (Hz); `redundant` has at most the rate of `strong`, and divides it.
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
    """What `truth.json` holds: all that the best rule needs, and how good it is with every set of sensors."""
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
