"""Signals whose class can be inferred from `left` and `right` together, but not from either alone, and their truth.

Windows as in `rhythms`, at 50 Hz; b is complex normal of unit power and phi a uniform phase, drawn independently for
every sensor and window unless stated otherwise:

- `exclusive_or`, two rhythms: every sensor has a bit, and u[k] = a exp(i phi) [k = bit] + b[k], as in `signals` with
  two classes. The class is the exclusive or of the two bits.

- `ratio`, four rhythms: u[k] = A b[k] with A = G sqrt(r) on one sensor and G / sqrt(r) on the other. G is common to
  both, log-uniform; the class says which sensor is louder: `left` in class 1.
- `synchrony`, one rhythm: u = a exp(i phi) + b on `left`, u = a exp(i (phi + psi)) + b on `right`, with one phi for
  both, psi = pi / 2 in class 1 (right leads by a quarter of a period) and psi = -pi / 2 in class 0.

`noise` is generated in the same way, without information: a = 0, or a gain G of its own and r = 1. `interactions`
derives the accuracy of the optimal rules, and the meaning of `late_average` in `truth.json`.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.progress import track

from fusionlit.synthetic.bayes import Evidence
from fusionlit.synthetic.interactions import (
    Levels,
    blurred_average,
    describe_worth,
    exclusive_or_worth,
    ratio_worth,
    synchrony_worth,
)
from fusionlit.synthetic.rhythms import (
    DURATION,
    SENSOR_NOISE,
    Complex,
    Reals,
    complex_normal,
    draw_gains,
    leak,
    list_gains,
    make_carriers,
    observe,
)

SENSORS = ("left", "right", "noise")
RATE = 50.0
"""Sampling rate of each sensor (Hz): 128 samples per window."""
LEAK = leak(SENSOR_NOISE**2, RATE)
EXCLUSIVE_OR_SNR, SYNCHRONY_SNR = 12.0, 5.3
"""Ratio of `a^2` to the noise power in each sensor's matched filter, 1 + LEAK."""
LEVELS = Levels(ratio=2.45, gain_db=15.0, power=LEAK, rhythms=4)
LOGIT_ERRORS = (0.03, 0.1, 0.3)
"""Standard deviations for which `truth.json` gives the blurred average."""

Strengths = list[Complex]
"""Strengths u `(K,)` of each sensor, in the order of SENSORS."""


def exclusive_or_strengths(label: int, rng: np.random.Generator) -> Strengths:
    """Strengths with two bits whose exclusive or is `label`; on each sensor, the rhythm of its bit is louder."""
    bit = int(rng.integers(2))
    noise = [complex_normal(rng, (2,)) for _ in SENSORS]
    for strength, own in zip(noise, (bit, bit ^ label), strict=False):  # none for the third sensor, `noise`
        strength[own] += _amplitude(EXCLUSIVE_OR_SNR) * _phase(rng)
    return noise


def ratio_strengths(label: int, rng: np.random.Generator) -> Strengths:
    """Strengths with one gain for both sensors; `left` is louder if `label` is 1."""
    gain, own = 10 ** (LEVELS.gain_db * rng.uniform(-1, 1, 2) / 20)
    left, right = (LEVELS.ratio**0.5, LEVELS.ratio**-0.5)[:: 1 if label else -1]
    return [factor * complex_normal(rng, (LEVELS.rhythms,)) for factor in (gain * left, gain * right, own)]


def synchrony_strengths(label: int, rng: np.random.Generator) -> Strengths:
    """Strengths with one phase for both sensors; `right` leads by a quarter of a period if `label` is 1."""
    wave = _amplitude(SYNCHRONY_SNR) * _phase(rng)
    return [part + complex_normal(rng, (1,)) for part in (wave, wave * (1j if label else -1j), 0)]


def exclusive_or_truth() -> dict[str, object]:
    """Amplitude and power, and the accuracy of the optimal rules."""
    evidence = Evidence(_amplitude(EXCLUSIVE_OR_SNR), 1 + LEAK)
    return {"snr": EXCLUSIVE_OR_SNR, **evidence._asdict(), **describe_worth(exclusive_or_worth(evidence))}


def ratio_truth() -> dict[str, object]:
    """Levels, the accuracy of the optimal rules, and that of the average with errors in the members' log-odds."""
    blurred = {str(deviation): blurred_average(LEVELS, deviation) for deviation in LOGIT_ERRORS}
    levels = {"ratio": LEVELS.ratio, "gain_db": [-LEVELS.gain_db, LEVELS.gain_db], "power": LEVELS.power}
    return {**levels, **describe_worth(ratio_worth(LEVELS)), "blurred_average": blurred}


def synchrony_truth() -> dict[str, object]:
    """Amplitude and power, and the accuracy of the optimal rules."""
    evidence = Evidence(_amplitude(SYNCHRONY_SNR), 1 + LEAK)
    return {"snr": SYNCHRONY_SNR, **evidence._asdict(), **describe_worth(synchrony_worth(evidence))}


class Interaction(NamedTuple):
    """An interaction, written to one file.

    Args:
        sentence: Description.
        periods: Number of periods of each rhythm in a window.
        strengths: Function that draws u of each sensor, given the class.
        truth: Function that returns its part of `truth.json`, except rhythms and gains.
    """

    sentence: str
    periods: tuple[int, ...]
    strengths: Callable[[int, np.random.Generator], Strengths]
    truth: Callable[[], dict[str, object]]


INTERACTIONS = {
    "exclusive_or": Interaction(
        "The class is the exclusive or of two bits: which of two rhythms is louder on left, and which on right.",
        (4, 9),
        exclusive_or_strengths,
        exclusive_or_truth,
    ),
    "ratio": Interaction(
        "The class is 1 if left has more power than right; their common gain is random.",
        (4, 9, 16, 26),
        ratio_strengths,
        ratio_truth,
    ),
    "synchrony": Interaction(
        "The class is 1 if right leads left by a quarter of a period, and 0 if left leads.",
        (4,),
        synchrony_strengths,
        synchrony_truth,
    ),
}
FILES = ("truth.json", *(f"{name}.npz" for name in INTERACTIONS))


def write_joint_signals(root: Path, frames: int, seed: int) -> None:
    """Write `truth.json`, then one NPZ file per interaction, to the folder `root`.

    Args:
        root: An existing folder.
        frames: Windows per class.
        seed: Seed of gains and windows; window k depends only on seed and k.
    """
    gains = {name: draw_sensor_gains(name, seed) for name in INTERACTIONS}
    truth = {
        "duration_s": DURATION,
        "rate_hz": RATE,
        "chance": 0.5,
        "interactions": {name: describe(name, gains[name]) for name in INTERACTIONS},
    }
    (root / "truth.json").write_text(json.dumps(truth, indent=1) + "\n", encoding="utf-8")
    target = np.tile(np.arange(2), frames)
    groups = np.array([f"{index // 2:04d}" for index in range(len(target))])
    for name, interaction in INTERACTIONS.items():
        carriers = [make_carriers(own, _frequencies(interaction), RATE) for own in gains[name].values()]
        arrays = {sensor: np.empty((len(target), *carriers[0].shape[1:]), np.float32) for sensor in SENSORS}
        for index in track(range(len(target)), description=f"rendering {name}"):
            rng = make_generator(seed, name, index)
            strengths = interaction.strengths(int(target[index]), rng)
            for sensor, strength, carrier in zip(SENSORS, strengths, carriers, strict=True):
                arrays[sensor][index] = observe(strength, carrier, rng)
        np.savez(root / f"{name}.npz", allow_pickle=False, **arrays, target=target, groups=groups)


def draw_sensor_gains(name: str, seed: int) -> dict[str, Complex]:
    """Fixed gains `(K, C)` of each sensor in one interaction."""
    rng = make_generator(seed, name)
    return {sensor: draw_gains(rng, len(INTERACTIONS[name].periods)) for sensor in SENSORS}


def describe(name: str, gains: dict[str, Complex]) -> dict[str, object]:
    """Entry of one interaction in `truth.json`: everything that the optimal rule needs, and its accuracy."""
    interaction = INTERACTIONS[name]
    return {
        "sentence": interaction.sentence,
        "rhythms_hz": _frequencies(interaction).tolist(),
        "gains": {sensor: list_gains(own) for sensor, own in gains.items()},
        **interaction.truth(),
    }


def make_generator(seed: int, name: str, *index: int) -> np.random.Generator:
    """Independent generator of one window of an interaction or, without an index, of its gains."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(list(INTERACTIONS).index(name), *index)))


def _frequencies(interaction: Interaction) -> Reals:
    return np.asarray(np.array(interaction.periods) / DURATION, np.float64)


def _amplitude(snr: float) -> float:
    return float((snr * (1 + LEAK)) ** 0.5)


def _phase(rng: np.random.Generator) -> complex:
    return complex(np.exp(2j * np.pi * rng.random()))
