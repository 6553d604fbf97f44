"""Accuracy of the optimal rule when the class can be inferred from two sensors together, but not from either alone.

*Exclusive or.* Each sensor has a uniform bit, independent of the other's; the class y is their exclusive or. The
posteriors p_s = P(bit_s = 1 | x_s) give P(y = 0 | x) - P(y = 1 | x) = (2 p_l - 1) (2 p_r - 1). The optimal rule is its
sign, which is the exclusive or of each sensor's most likely bit. A bit is correct with probability q, that of two
orthogonal signals (`bayes`), so the class is correct with probability q^2 + (1 - q)^2.

*Synchrony.* z_l = a exp(i phi) + noise and z_r = a exp(i (phi +- pi / 2)) + noise, + for y = 1. Together they contain
the signal a exp(i phi) (1, i) or a exp(i phi) (1, -i). The two are orthogonal, of energy 2 a^2. So the optimal rule
takes the larger of |z_l - i z_r| (y = 1) and |z_l + i z_r| (y = 0); its accuracy is that of `bayes` with amplitude
sqrt(2) a.

*Ratio.* The energy E = sum_k |z_k|^2 of a sensor's K rhythms is a sufficient statistic. E / P has a Gamma distribution
of shape K, with P = G^2 r + leak for the loud sensor (left for y = 1, right for y = 0) and P = G^2 / r + leak for the
quiet one. For every G, y = 1 is more likely if and only if E_l > E_r, so the same holds with G integrated out. The
optimal rule compares the energies. It is correct with probability P(B > P_quiet / (P_loud + P_quiet)), B from a Beta(K,
K) distribution, averaged over G.

*The late average* is the average of the sensors' optimal predictions P(y | x_s): an ensemble of separately trained
members.

- With two classes, the mean of two probabilities exceeds 1/2 if and only if the mean of the two log-odds exceeds 0:
  both averages decide alike. A sensor without information (log-odds 0, probability 1/2) changes neither.
- Exclusive or and synchrony: every member predicts 1/2, and so does the average. It is correct half the time, however
  ties are broken.
- Ratio: the left sensor's log-odds L increase with its energy. (The density of P for y = 1, divided by that for y = 0,
  is 0, then 1, then infinite: it increases, and Gamma distributions preserve this order.) The right sensor's are
  -L(E_r). So the average is above 0 if and only if E_l > E_r: exact members lose nothing. But L is almost flat over
  most of its range, and real members have errors. `blurred_average` computes their cost.

*The late average is not the best possible average.* Members trained jointly, through their average, need not be the
optimal predictions of each sensor.

- Exclusive or and synchrony: joint training does not help. y = +-1 is independent of x_l, and of x_r, so every sum F =
  f(x_l) + g(x_r) + c has E[y F] = 0. By Jensen's inequality E log(1 + exp(-y F)) >= log 2, with equality only for F =
  0: the additive log-odds of minimum cross-entropy are 0. The same holds for an average 1/2 + m of probabilities, since
  E[y m] = 0 and -log(1/2 + y m) is convex. After training on few windows, F is small but not 0. Its sign is then
  determined by noise; for exclusive or it may be correct in a quarter to three quarters of all windows.
- Ratio: f = log E_l and g = -log E_r decide like the optimal rule, and do not need such precision.

Source: Karlin, "Total Positivity", 1968, chapter 1 (the order that Gamma distributions preserve).
"""

import math
from typing import NamedTuple

import numpy as np

from fusionlit.synthetic.bayes import DRAWS, Evidence, best_accuracy
from fusionlit.synthetic.rhythms import Reals

Figure = dict[str, float]
"""An accuracy, `value`, and its `standard_error`."""
STEPS = 400
"""Steps of the integral over the common gain."""


class Worth(NamedTuple):
    """Exact accuracies.

    Args:
        joint: Optimal rule with both sensors.
        single: Optimal rule with one sensor, the same for each.
        average: Average of the two sensors' optimal predictions.
    """

    joint: float
    single: float
    average: float


class Levels(NamedTuple):
    """Levels of the sensors of the ratio.

    Args:
        ratio: Ratio r of the loud sensor's power to G^2, and of G^2 to the quiet sensor's power.
        gain_db: Half the range of 20 log10 G, which is uniform (dB).
        power: Power of white noise in one output of the matched filter.
        rhythms: Number of rhythms, K.
    """

    ratio: float
    gain_db: float
    power: float
    rhythms: int

    @property
    def loud_and_quiet(self) -> tuple[Reals, Reals]:
        """Powers P of the loud and the quiet sensor over the steps of G, each `(STEPS,)`."""
        steps = (np.arange(STEPS) + 0.5) / STEPS
        gain = 10 ** (self.gain_db * (2 * steps - 1) / 10)
        return gain * self.ratio + self.power, gain / self.ratio + self.power


def exclusive_or_worth(sensor: Evidence) -> Worth:
    """Accuracies for two such sensors."""
    bit, _ = best_accuracy((sensor,), 2)
    return Worth(bit**2 + (1 - bit) ** 2, 0.5, 0.5)


def synchrony_worth(sensor: Evidence) -> Worth:
    """Accuracies for two such sensors."""
    joint, _ = best_accuracy((Evidence(2**0.5 * sensor.amplitude, sensor.power),), 2)
    return Worth(joint, 0.5, 0.5)


def ratio_worth(levels: Levels) -> Worth:
    """Accuracies, by one-dimensional integrals."""
    (loud, quiet), k = levels.loud_and_quiet, levels.rhythms
    p = quiet / (loud + quiet)
    wrong = sum(math.comb(2 * k - 1, j) * p**j * (1 - p) ** (2 * k - 1 - j) for j in range(k, 2 * k))
    joint = 1 - float(np.mean(wrong))
    grid = _energies(levels)
    densities = np.exp([_log_density(levels, power, grid) for power in (loud, quiet)])
    single = float(np.trapezoid(densities.max(0), np.log(grid))) / 2
    return Worth(joint, single, joint)


def loud_log_odds(levels: Levels, energy: Reals) -> Reals:
    """Log-odds from one sensor's energy, `log P(loud | E) / P(quiet | E)`, of any shape."""
    loud, quiet = levels.loud_and_quiet
    flat = energy.ravel()
    odds = _log_density(levels, loud, flat) - _log_density(levels, quiet, flat)
    return odds.reshape(energy.shape)


def blurred_average(levels: Levels, deviation: float) -> Figure:
    """Accuracy, for the ratio, of the average of the sensors' log-odds with normal errors, by Monte Carlo.

    Args:
        levels: Levels of the sensors.
        deviation: Standard deviation of the errors.
    """
    rng = np.random.default_rng(0)
    gain = 10 ** (levels.gain_db * rng.uniform(-1, 1, DRAWS) / 10)
    grid = np.log(_energies(levels))
    odds = loud_log_odds(levels, np.exp(grid))
    score = deviation * 2**0.5 * rng.standard_normal(DRAWS)
    for factor, sign in ((levels.ratio, 1), (1 / levels.ratio, -1)):  # left is louder; the other case is symmetric
        energy = (gain * factor + levels.power) * rng.standard_gamma(levels.rhythms, DRAWS)
        score += sign * np.interp(np.log(energy), grid, odds)
    return figure(float((score > 0).mean()), DRAWS)


def describe_worth(worth: Worth) -> dict[str, dict[str, Figure]]:
    """Accuracies for every set of `left`, `right` and `noise`, and for the average of all three."""
    sets = ("left", "right", "noise", "left+right", "left+noise", "right+noise", "left+right+noise")
    by_number = (0.5, worth.single, worth.joint)
    accuracy = {names: figure(by_number[("left" in names) + ("right" in names)]) for names in sets}
    return {
        "accuracy": accuracy,
        "late_average": {of: figure(worth.average) for of in ("logits", "probabilities")},
    }


def figure(value: float, draws: int | None = None) -> Figure:
    """An accuracy and its standard error, which is 0 unless it is estimated from random draws."""
    error = math.sqrt(value * (1 - value) / draws) if draws else 0.0
    return {"value": round(value, 5), "standard_error": round(error, 5)}


def _energies(levels: Levels) -> Reals:
    """Grid over the range of energies, evenly spaced in log E."""
    loud, quiet = levels.loud_and_quiet
    return np.geomspace(quiet.min() / 500, loud.max() * 30, 2000)


def _log_density(levels: Levels, power: Reals, energy: Reals) -> Reals:
    """Log density `(n,)` of log E, with P uniform over `power`."""
    x = energy[:, None] / power
    terms = levels.rhythms * np.log(x) - x
    top = terms.max(1)
    mean = np.exp(terms - top[:, None]).mean(1)
    return np.asarray(top + np.log(mean) - math.lgamma(levels.rhythms), np.float64)
