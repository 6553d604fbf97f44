import numpy as np
import pytest
from scipy import integrate, stats

from fusionlit.synthetic.bayes import Evidence
from fusionlit.synthetic.interactions import (
    Levels,
    blurred_average,
    describe_worth,
    exclusive_or_worth,
    loud_log_odds,
    ratio_worth,
    synchrony_worth,
)

DRAWS = 40_000
FEWER = 6_000
LEVELS = Levels(ratio=2.0, gain_db=9.0, power=0.05, rhythms=3)


def complex_normal(rng, *shape):
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) / 2**0.5


def within(right, value, errors=3.0):
    """The share of what is right is the value, but for chance."""
    return right.mean() == pytest.approx(value, abs=errors * (value * (1 - value) / len(right)) ** 0.5)


@pytest.mark.parametrize("snr", [1.5, 5.0])
def test_exclusive_or_is_the_share_that_the_joint_posterior_gets_right(snr):
    rng, power = np.random.default_rng(0), 1.2
    amplitude = (snr * power) ** 0.5
    bits = rng.integers(2, size=(2, DRAWS))
    z = power**0.5 * complex_normal(rng, 2, DRAWS, 2)
    z[np.arange(2)[:, None], np.arange(DRAWS), bits] += amplitude * np.exp(2j * np.pi * rng.random((2, DRAWS)))
    likelihood = np.i0(2 * amplitude / power * np.abs(z))  # of either bit, for both sensors
    differ = likelihood[0, :, 0] * likelihood[1, :, 1] + likelihood[0, :, 1] * likelihood[1, :, 0]
    agree = likelihood[0, :, 0] * likelihood[1, :, 0] + likelihood[0, :, 1] * likelihood[1, :, 1]
    worth = exclusive_or_worth(Evidence(amplitude, power))
    assert within((differ > agree) == (bits[0] != bits[1]), worth.joint)
    assert worth[1:] == (0.5, 0.5)


@pytest.mark.parametrize("snr", [0.5, 2.0])
def test_synchrony_is_the_share_that_the_likelihood_over_all_phases_gets_right(snr):
    rng, power = np.random.default_rng(1), 1.2
    amplitude = (snr * power) ** 0.5
    label = rng.integers(2, size=DRAWS)
    wave = amplitude * np.exp(2j * np.pi * rng.random(DRAWS))
    z = np.stack([wave, wave * np.where(label, 1j, -1j)]) + power**0.5 * complex_normal(rng, 2, DRAWS)
    phases = amplitude * np.exp(2j * np.pi * np.arange(32) / 32)[:, None]

    def log_likelihood(turn):
        distance = np.abs(z[0] - phases) ** 2 + np.abs(z[1] - turn * phases) ** 2
        return np.logaddexp.reduce(-distance / power, 0)

    worth = synchrony_worth(Evidence(amplitude, power))
    assert within((log_likelihood(1j) > log_likelihood(-1j)) == label, worth.joint)
    assert worth[1:] == (0.5, 0.5)


def draw_energies(levels, rng, draws):
    label = rng.integers(2, size=draws)
    gain = 10 ** (rng.uniform(-levels.gain_db, levels.gain_db, draws) / 10)
    energies = []
    for loud in (label, 1 - label):
        power = gain * np.where(loud, levels.ratio, 1 / levels.ratio) + levels.power
        energies.append((power[:, None] * np.abs(complex_normal(rng, draws, levels.rhythms)) ** 2).sum(1))
    return label, *energies


def test_ratio_is_the_share_that_the_likelihood_over_all_gains_gets_right():
    label, left, right = draw_energies(LEVELS, np.random.default_rng(2), FEWER)
    gain = 10 ** (np.linspace(-LEVELS.gain_db, LEVELS.gain_db, 200)[:, None] / 10)
    loud, quiet = gain * LEVELS.ratio + LEVELS.power, gain / LEVELS.ratio + LEVELS.power
    common = -LEVELS.rhythms * np.log(loud * quiet)
    one = np.logaddexp.reduce(common - left / loud - right / quiet, 0)
    zero = np.logaddexp.reduce(common - left / quiet - right / loud, 0)
    np.testing.assert_array_equal(one > zero, left > right)
    worth = ratio_worth(LEVELS)
    assert within((one > zero) == label, worth.joint)
    odds = loud_log_odds(LEVELS, np.stack([left, right]))
    assert within((odds[0] > 0) == label, worth.single)
    assert within((odds[1] < 0) == label, worth.single)
    assert within((odds[0] - odds[1] > 0) == label, worth.average)
    probabilities = 1 / (1 + np.exp([-odds[0], odds[1]]))  # of class 1, by each sensor
    np.testing.assert_array_equal(probabilities.mean(0) > 0.5, odds[0] > odds[1])


def test_log_odds_of_one_sensor_are_those_of_integrated_gamma_laws_and_rise():
    energy = np.array([0.02, 0.1, 0.5, 1.0, 4.0, 20.0, 60.0])

    def density(value, factor):
        def given(gain_db):
            scale = 10 ** (gain_db / 10) * factor + LEVELS.power
            return stats.gamma.pdf(value, LEVELS.rhythms, scale=scale)

        return integrate.quad(given, -LEVELS.gain_db, LEVELS.gain_db, epsabs=0, epsrel=1e-10)[0]

    expected = [np.log(density(e, LEVELS.ratio) / density(e, 1 / LEVELS.ratio)) for e in energy]
    np.testing.assert_allclose(loud_log_odds(LEVELS, energy), expected, rtol=1e-4)
    assert (np.diff(loud_log_odds(LEVELS, np.geomspace(1e-3, 200, 500))) > 0).all()


def test_a_gain_that_is_known_and_no_noise_leave_the_law_of_f():
    levels = Levels(ratio=1.7, gain_db=0.0, power=0.0, rhythms=4)
    assert ratio_worth(levels).joint == pytest.approx(stats.f(8, 8).cdf(1.7**2), abs=1e-9)
    # One sensor: the Gamma laws of scale r and 1 / r cross at c
    c = 2 * 4 * np.log(1.7) / (1.7 - 1 / 1.7)
    loud, quiet = stats.gamma(4, scale=1.7), stats.gamma(4, scale=1 / 1.7)
    assert ratio_worth(levels).single == pytest.approx((loud.sf(c) + quiet.cdf(c)) / 2, abs=1e-5)


@pytest.mark.parametrize("deviation", [1e-9, 0.3])
def test_errors_of_the_members_cost_what_their_normal_law_says(deviation):
    label, left, right = draw_energies(LEVELS, np.random.default_rng(3), FEWER)
    odds = loud_log_odds(LEVELS, np.stack([left, right]))
    margin = (odds[0] - odds[1]) * (2 * label - 1)
    chance = stats.norm.cdf(margin / (2**0.5 * deviation))
    stated = blurred_average(LEVELS, deviation)
    error = np.hypot(chance.std() / FEWER**0.5, stated["standard_error"])
    assert 0 < stated["standard_error"] < 0.001
    assert stated["value"] == pytest.approx(chance.mean(), abs=3 * error)


def test_every_set_of_sensors_and_both_averages_are_stated():
    stated = describe_worth(ratio_worth(LEVELS))
    value = {names: figure["value"] for names, figure in stated["accuracy"].items()}
    assert value["noise"] == 0.5
    assert 0.5 < value["left"] == value["right"] == value["left+noise"] == value["right+noise"] < 0.8
    assert value["left"] < value["left+right"] == value["left+right+noise"]
    assert len(value) == 7
    assert {of: figure["value"] for of, figure in stated["late_average"].items()} == {
        "logits": value["left+right"],
        "probabilities": value["left+right"],
    }
