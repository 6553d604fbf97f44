import hashlib
import json
from itertools import combinations

import numpy as np
import pytest
from scipy import integrate, stats

from fusionlit.data.arrays.module import ArrayDataModule
from fusionlit.errors import DataError
from fusionlit.synthetic import render
from fusionlit.synthetic.bayes import Evidence, best_accuracy

FRAMES = 500
TASKS = ["signals", "multirate_signals"]


@pytest.fixture(scope="module", params=TASKS)
def planted_root(request, tmp_path_factory):
    root = tmp_path_factory.mktemp(request.param)
    render(root, FRAMES, seed=2, task=request.param)
    return root


def load(root):
    with np.load(root / "signals.npz") as archive:
        return json.loads((root / "truth.json").read_text()), dict(archive)


def carriers(truth, name):
    """Unit rhythm on every channel by truth.json alone, `(K, C, T)` complex."""
    sensor = truth["sensors"][name]
    time = np.arange(round(truth["duration_s"] * sensor["rate_hz"])) / sensor["rate_hz"]
    gains = np.array(sensor["gains"]) @ [1, 1j]
    return gains[..., None] * np.exp(2j * np.pi * np.array(truth["rhythms_hz"])[:, None, None] * time)


def filtered(truth, name, signals):
    """Matched filter `(n, K)`."""
    wave = carriers(truth, name)
    return 2 / wave.shape[-1] * np.einsum("nct,kct->nk", signals, wave.conj())


def log_likelihood(truth, name, signals):
    sensor = truth["sensors"][name]
    x = 2 * sensor["amplitude"] / sensor["power"] * np.abs(filtered(truth, name, signals))
    return np.log(np.i0(x))


def telling(truth, names):
    """Without what is copied from another of them."""
    return [name for name in names if truth["sensors"][name]["copy_of"] not in names]


def test_the_best_rule_scores_on_the_file_what_the_truth_states_for_every_set_of_sensors(planted_root):
    truth, arrays = load(planted_root)
    scores = {name: log_likelihood(truth, name, arrays[name]) for name in truth["sensors"]}
    assert set(truth["sensors"]) == {"strong", "weak", "redundant", "noise"}
    for size in (1, 2, 3, 4):
        for names in combinations(truth["sensors"], size):
            stated = truth["accuracy"]["+".join(names)]
            if names == ("noise",):  # no likelihood: the loudest rhythm, as for the others alone
                guess = np.abs(filtered(truth, "noise", arrays["noise"])).argmax(1)
            else:
                guess = sum(scores[name] for name in telling(truth, names)).argmax(1)
            error = np.hypot((stated["value"] * (1 - stated["value"]) / len(guess)) ** 0.5, stated["standard_error"])
            assert (guess == arrays["target"]).mean() == pytest.approx(stated["value"], abs=4 * error), names


def test_what_is_planted_is_what_was_asked_for(planted_root):
    accuracy = {name: figure["value"] for name, figure in load(planted_root)[0]["accuracy"].items()}
    assert accuracy["noise"] == 0.25
    assert 0.5 < accuracy["weak"] < accuracy["redundant"] < 0.8 < accuracy["strong"] < 0.92
    assert accuracy["strong"] < accuracy["strong+weak"] < 0.97
    assert accuracy["strong+redundant"] == accuracy["strong"]
    assert accuracy["strong+weak+redundant+noise"] == accuracy["strong+weak"]


@pytest.mark.parametrize(("snr", "classes"), [(5.0, 4), (0.7, 3), (2.0, 2)])
def test_one_sensors_accuracy_is_the_integral_over_its_distributions(snr, classes):
    # |z| is Rice distributed for the class and Rayleigh distributed for the others; the class must be the loudest.
    power = 1.3
    amplitude, scale = (snr * power) ** 0.5, (power / 2) ** 0.5
    loud, others = stats.rice(amplitude / scale, scale=scale), stats.rayleigh(scale=scale)
    expected, _ = integrate.quad(lambda r: loud.pdf(r) * others.cdf(r) ** (classes - 1), 0, 20)
    assert best_accuracy((Evidence(amplitude, power),), classes) == (pytest.approx(expected, abs=1e-7), 0)


def test_two_sensors_accuracy_is_within_its_error_of_the_numerical_convolution():
    sensors, classes, step = (Evidence(2.2, 1.0), Evidence(1.4, 1.1)), 4, 0.01
    grid = np.arange(0, 60, step)
    densities = {"class": np.ones(1), "other": np.ones(1)}
    for a, p in sensors:
        r = np.linspace(0, 12, 200_001)
        score = np.log(np.i0(2 * a / p * r))
        for which, law in (
            ("class", stats.rice(a / (p / 2) ** 0.5, scale=(p / 2) ** 0.5)),
            ("other", stats.rayleigh(scale=(p / 2) ** 0.5)),
        ):
            cdf = np.interp(grid + step, score, law.cdf(r)) - np.interp(grid, score, law.cdf(r))
            densities[which] = np.convolve(densities[which], cdf)
    below = np.cumsum(densities["other"]) - densities["other"] / 2
    expected = (densities["class"] * below ** (classes - 1)).sum()
    value, error = best_accuracy(sensors, classes)
    assert 0 < error < 0.001
    assert value == pytest.approx(expected, abs=4 * error)


def dense_log_likelihoods(truth, arrays, names, windows):
    """Of every class, from first principles: phase integrated numerically, all samples jointly normal, `(n, K)`."""
    noise, waves = 0.5**2, {name: carriers(truth, name) for name in names}
    rhythms, phases = len(truth["rhythms_hz"]), np.exp(2j * np.pi * np.arange(64) / 64)
    flat = {name: wave.reshape(rhythms, -1) for name, wave in waves.items()}
    stacked = np.concatenate(list(flat.values()), 1)
    # E[Re(b w) Re(b w)'] = Re(w w^H) / 2 for b of unit power
    covariance = 0.5 * (stacked.T @ stacked.conj()).real
    start, sensor_noise = 0, []
    for name in names:
        size = flat[name].shape[1]
        block = slice(start, start + size)
        copy = truth["sensors"][name]["copy_of"]
        if copy:
            covariance[block, block] += 0.5 * (flat[name].T @ flat[name].conj()).real
        sensor_noise.append((block, copy))
        start += size
    for block, copy in sensor_noise:
        covariance[block, block] += noise * (2 if copy else 1) * np.eye(block.stop - block.start)
    if len(names) == 2:  # the copy holds every step-th sample of the original's white noise
        (c, t), (_, u) = (waves[name].shape[1:] for name in names)
        pick = np.zeros((c, t, c, u))
        for channel in range(c):
            pick[channel, np.arange(0, t, t // u), channel, np.arange(u)] = noise
        covariance[: c * t, c * t :] += pick.reshape(c * t, c * u)
        covariance[c * t :, : c * t] += pick.reshape(c * t, c * u).T
    x = np.concatenate([arrays[name][windows].reshape(len(windows), -1) for name in names], 1).astype(float)
    result = []
    for wave in stacked:
        means = truth["sensors"][names[0]]["amplitude"] * (phases[:, None] * wave).real
        solved = np.linalg.solve(covariance, means.T)
        exponent = x @ solved - 0.5 * (means.T * solved).sum(0)
        result.append(np.logaddexp.reduce(exponent, 1) - np.log(len(phases)))
    return np.stack(result, 1)


@pytest.mark.parametrize("names", [("strong",), ("weak",), ("redundant",), ("strong", "redundant")])
def test_no_rule_is_better_the_full_joint_likelihood_says_the_same(planted_root, names):
    truth, arrays = load(planted_root)
    windows = np.arange(60)
    dense = dense_log_likelihoods(truth, arrays, names, windows)
    expected = log_likelihood(truth, names[0], arrays[names[0]][windows])  # beside strong, its copy tells nothing
    np.testing.assert_allclose(dense - dense[:, :1], expected - expected[:, :1], atol=1e-4)


def test_the_noise_sensor_has_the_same_law_in_every_class(planted_root):
    truth, arrays = load(planted_root)
    power = np.abs(filtered(truth, "noise", arrays["noise"])) ** 2
    same = power[np.arange(len(power)), arrays["target"]]
    other = power[np.arange(len(power)), (arrays["target"] + 1) % 4]
    assert stats.ks_2samp(same, other).pvalue > 1e-3
    strong = np.abs(filtered(truth, "strong", arrays["strong"])) ** 2  # the test would notice
    assert stats.ks_2samp(strong[np.arange(len(power)), arrays["target"]], other).pvalue < 1e-20


def test_rates_lengths_and_groups_are_as_stated(planted_root):
    truth, arrays = load(planted_root)
    rates = {name: sensor["rate_hz"] for name, sensor in truth["sensors"].items()}
    assert len(set(rates.values())) == (3 if "multirate" in planted_root.name else 1)
    for name, rate in rates.items():
        assert arrays[name].shape == (4 * FRAMES, 3, rate * truth["duration_s"])
        assert arrays[name].dtype == np.float32
        assert np.isfinite(arrays[name]).all()
    groups, sizes = np.unique(arrays["groups"], return_counts=True)
    assert len(groups) == FRAMES
    assert set(sizes) == {4}
    assert np.bincount(arrays["target"]).tolist() == [FRAMES] * 4


def digests(root):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in root.iterdir()}


@pytest.mark.parametrize("task", TASKS)
def test_same_seed_same_bytes_and_more_frames_change_none(tmp_path, task):
    for name, frames, seed in (("a", 3, 5), ("b", 3, 5), ("c", 5, 5), ("d", 3, 6)):
        render(tmp_path / name, frames, seed, task)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    few, more, other = (load(tmp_path / name)[1] for name in "acd")
    for name in ("strong", "weak", "redundant", "noise", "groups"):
        np.testing.assert_array_equal(few[name], more[name][:12])
        assert name == "groups" or not (few[name] == other[name]).any()


def test_refuses_to_write_over_any_data_set_and_overwrites_only_its_own(tmp_path):
    render(tmp_path, 2, task="signals")
    before = digests(tmp_path)
    for task in ("signals", "shape"):
        with pytest.raises(DataError, match=r"found a data set already \(1 \.json, 1 \.npz files, such as truth\.json"):
            render(tmp_path, 1, task=task)
    assert digests(tmp_path) == before
    (tmp_path / "mine.npz").write_text("mine")
    render(tmp_path, 2, task="shape", overwrite=True)
    assert {path.name for path in tmp_path.iterdir()} == {"mine.npz", "cubes", "spheres"}
    render(tmp_path, 2, task="signals", overwrite=True)
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {"mine.npz", "signals.npz", "truth.json"}


def test_the_array_data_module_reads_it(planted_root):
    data = ArrayDataModule(planted_root / "signals.npz")
    truth, _ = load(planted_root)
    assert list(data.modalities) == list(truth["sensors"])
    data.setup("fit")
    assert data.target[:2] == ("multiclass", 4)
    assert len(set(data.class_counts().tolist())) == 1  # a group is one window of each class
