import numpy as np
import pytest

from fusionlit.synthetic.rhythms import SENSOR_NOISE, complex_normal, draw_gains, leak, make_carriers, observe

RHYTHMS = np.array([4, 9, 16]) / 2.56


@pytest.mark.parametrize("rate", [25.0, 50.0])
def test_the_matched_filter_leaves_each_strength_and_noise_of_the_stated_power(rate):
    rng = np.random.default_rng(0)
    gains = draw_gains(rng, 3)
    np.testing.assert_allclose(np.linalg.norm(gains, axis=1), 1)
    carriers = make_carriers(gains, RHYTHMS, rate)
    strength = complex_normal(rng, (len(carriers),))
    windows = np.stack([observe(strength, carriers, rng) for _ in range(4000)])
    z = 2 / carriers.shape[-1] * np.einsum("nct,kct->nk", windows, carriers.conj(), optimize=True)
    power = leak(SENSOR_NOISE**2, rate)
    np.testing.assert_allclose(z.mean(0), strength, atol=5 * (power / 4000) ** 0.5)
    np.testing.assert_allclose((np.abs(z - strength) ** 2).mean(0), power, rtol=5 / 4000**0.5)


def test_complex_normal_has_unit_power_and_no_preferred_phase():
    z = complex_normal(np.random.default_rng(0), (20_000,))
    assert (np.abs(z) ** 2).mean() == pytest.approx(1, abs=5 / 20_000**0.5)
    assert abs((z**2).mean()) < 5 * (2 / 20_000) ** 0.5
