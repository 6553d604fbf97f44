"""Signals whose class `left` and `right` know together and neither of them alone, written with the truth about them.

Windows as in `rhythms`, at 50 Hz; b is complex normal of unit power and phi a uniform phase, drawn anew for every
sensor and window unless the text says otherwise:

- `exclusive_or`, two rhythms: every sensor has a bit, and u[k] = a exp(i phi) [k = bit] + b[k], as in `signals` with
  two classes. The class is the exclusive or of the two bits.
- `ratio`, four rhythms: u[k] = A b[k] with A = G sqrt(r) on one sensor and G / sqrt(r) on the other. G is common to
  both, log-uniform; the class says which is the loud one: `left` in class 1.
- `synchrony`, one rhythm: u = a exp(i phi) + b on `left`, u = a exp(i (phi + psi)) + b on `right`, with one phi for
  both, psi = pi / 2 in class 1 (right leads by a quarter of a period) and psi = -pi / 2 in class 0.

`noise` is made alike and knows nothing: a = 0, or a gain G of its own and r = 1. How good the best rules are, and what
`late_average` in `truth.json` is and is not, is derived in `interactions`.
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
"""Samples per second of each sensor (Hz): 128 a window."""
LEAK = leak(SENSOR_NOISE**2, RATE)
EXCLUSIVE_OR_SNR, SYNCHRONY_SNR = 12.0, 5.3
"""`a^2` over the power of all noise in each sensor's matched filter, 1 + LEAK."""
LEVELS = Levels(ratio=2.45, gain_db=15.0, power=LEAK, rhythms=4)
LOGIT_ERRORS = (0.03, 0.1, 0.3)
"""Standard deviations for which `truth.json` states the blurred average."""

Strengths = list[Complex]
"""u of each sensor, `(K,)`, in the order of SENSORS."""


def exclusive_or_strengths(label: int, rng: np.random.Generator) -> Strengths:
    """Two bits whose exclusive or is `label`; the rhythm of its bit is the louder one on each sensor."""
    bit = int(rng.integers(2))
    noise = [complex_normal(rng, (2,)) for _ in SENSORS]
    for strength, own in zip(noise, (bit, bit ^ label), strict=False):  # none for the third, `noise`
        strength[own] += _amplitude(EXCLUSIVE_OR_SNR) * _phase(rng)
    return noise


def ratio_strengths(label: int, rng: np.random.Generator) -> Strengths:
    """One gain for both sensors, and the loud one is left where `label` is 1."""
    gain, own = 10 ** (LEVELS.gain_db * rng.uniform(-1, 1, 2) / 20)
    left, right = (LEVELS.ratio**0.5, LEVELS.ratio**-0.5)[:: 1 if label else -1]
    return [factor * complex_normal(rng, (LEVELS.rhythms,)) for factor in (gain * left, gain * right, own)]


def synchrony_strengths(label: int, rng: np.random.Generator) -> Strengths:
    """One phase for both sensors, and right leads by a quarter of a period where `label` is 1."""
    wave = _amplitude(SYNCHRONY_SNR) * _phase(rng)
    return [part + complex_normal(rng, (1,)) for part in (wave, wave * (1j if label else -1j), 0)]


def exclusive_or_truth() -> dict[str, object]:
    """Amplitude and power, and how good the best rules are."""
    evidence = Evidence(_amplitude(EXCLUSIVE_OR_SNR), 1 + LEAK)
    return {"snr": EXCLUSIVE_OR_SNR, **evidence._asdict(), **describe_worth(exclusive_or_worth(evidence))}


def ratio_truth() -> dict[str, object]:
    """Levels, how good the best rules are, and what errors in the members' log-odds cost their average."""
    blurred = {str(deviation): blurred_average(LEVELS, deviation) for deviation in LOGIT_ERRORS}
    levels = {"ratio": LEVELS.ratio, "gain_db": [-LEVELS.gain_db, LEVELS.gain_db], "power": LEVELS.power}
    return {**levels, **describe_worth(ratio_worth(LEVELS)), "blurred_average": blurred}


def synchrony_truth() -> dict[str, object]:
    """Amplitude and power, and how good the best rules are."""
    evidence = Evidence(_amplitude(SYNCHRONY_SNR), 1 + LEAK)
    return {"snr": SYNCHRONY_SNR, **evidence._asdict(), **describe_worth(synchrony_worth(evidence))}


class Interaction(NamedTuple):
    """One file.

    Args:
        sentence: What it is.
        periods: Of each rhythm in a window.
        strengths: Draws u of each sensor, given the class.
        truth: Its share of `truth.json`, but for rhythms and gains.
    """

    sentence: str
    periods: tuple[int, ...]
    strengths: Callable[[int, np.random.Generator], Strengths]
    truth: Callable[[], dict[str, object]]


INTERACTIONS = {
    "exclusive_or": Interaction(
        "The class is the exclusive or of two bits: which of two rhythms is the louder on left, and which on right.",
        (4, 9),
        exclusive_or_strengths,
        exclusive_or_truth,
    ),
    "ratio": Interaction(
        "The class is 1 where left has more power than right; the gain that both share is random.",
        (4, 9, 16, 26),
        ratio_strengths,
        ratio_truth,
    ),
    "synchrony": Interaction(
        "The class is 1 where right leads left by a quarter of a period, and 0 where left leads.",
        (4,),
        synchrony_strengths,
        synchrony_truth,
    ),
}
FILES = ("truth.json", *(f"{name}.npz" for name in INTERACTIONS))


def write_joint_signals(root: Path, frames: int, seed: int) -> None:
    """Write one NPZ file per interaction and, before them, `truth.json` into the folder `root`.

    Args:
        root: An existing folder.
        frames: Windows of each class.
        seed: Seed of gains and windows; window k depends on seed and k alone.
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
    """What `truth.json` holds of one interaction: all that the best rule needs, and how good it is."""
    interaction = INTERACTIONS[name]
    return {
        "sentence": interaction.sentence,
        "rhythms_hz": _frequencies(interaction).tolist(),
        "gains": {sensor: list_gains(own) for sensor, own in gains.items()},
        **interaction.truth(),
    }


def make_generator(seed: int, name: str, *index: int) -> np.random.Generator:
    """Of one window of an interaction, or of its gains where there is no index: no two share their numbers."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(list(INTERACTIONS).index(name), *index)))


def _frequencies(interaction: Interaction) -> Reals:
    return np.asarray(np.array(interaction.periods) / DURATION, np.float64)


def _amplitude(snr: float) -> float:
    return float((snr * (1 + LEAK)) ** 0.5)


def _phase(rng: np.random.Generator) -> complex:
    return complex(np.exp(2j * np.pi * rng.random()))
