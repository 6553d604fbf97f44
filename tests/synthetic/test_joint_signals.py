import hashlib
import json

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit, log_expit

from fusionlit.data import ArrayDataModule, FractionSplit
from fusionlit.errors import DataError
from fusionlit.synthetic import render
from fusionlit.synthetic.joint_signals import make_generator
from fusionlit.types import shapes_of

FRAMES = 2000
NAMES = ("exclusive_or", "ratio", "synchrony")
SENSORS = ("left", "right", "noise")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("joint_signals")
    render(root, FRAMES, seed=2, task="joint_signals")
    return root


def load(root, name):
    with np.load(root / f"{name}.npz") as archive:
        return json.loads((root / "truth.json").read_text()), dict(archive)


def carriers(truth, name, sensor):
    """By truth.json alone, `(K, C, T)` complex."""
    told = truth["interactions"][name]
    time = np.arange(round(truth["duration_s"] * truth["rate_hz"])) / truth["rate_hz"]
    gains = np.array(told["gains"][sensor]) @ [1, 1j]
    return gains[..., None] * np.exp(2j * np.pi * np.array(told["rhythms_hz"])[:, None, None] * time)


@pytest.fixture(scope="module", params=NAMES)
def planted(request, root):
    """Name, truth, matched filters `(n, K)` by sensor, target."""
    truth, arrays = load(root, request.param)
    z = {}
    for sensor in SENSORS:
        wave = carriers(truth, request.param, sensor)
        flat = arrays[sensor].reshape(len(arrays[sensor]), -1)
        z[sensor] = 2 / wave.shape[-1] * flat @ wave.reshape(len(wave), -1).conj().T
    return request.param, truth["interactions"][request.param], z, arrays["target"]


def bit_log_odds(told, z):
    score = np.log(np.i0(2 * told["amplitude"] / told["power"] * np.abs(z)))
    return score[:, 1] - score[:, 0]


def loud_log_odds(told, z):
    """Gain integrated out on a grid."""
    energy = (np.abs(z) ** 2).sum(1)
    gain = 10 ** (np.linspace(*told["gain_db"], 400)[:, None] / 10)

    def log_likelihood(factor):
        power = gain * factor + told["power"]
        return np.logaddexp.reduce(-z.shape[1] * np.log(power) - energy / power, 0)

    return log_likelihood(told["ratio"]) - log_likelihood(1 / told["ratio"])


def joint_log_odds(name, told, z):
    """Of class 1."""
    if name == "exclusive_or":
        left, right = (2 * expit(bit_log_odds(told, z[s])) - 1 for s in ("left", "right"))
        return -left * right
    if name == "ratio":
        left, right = ((np.abs(z[s]) ** 2).sum(1) for s in ("left", "right"))
        return np.log(left) - np.log(right)
    left, right = z["left"][:, 0], z["right"][:, 0]
    leads, lags = (2 * told["amplitude"] / told["power"] * np.abs(left + s * 1j * right) for s in (-1, 1))
    return np.log(np.i0(leads)) - np.log(np.i0(lags))


def features(name, told, z):
    """Of single sensors, and of two together, each `(n, d)`."""
    if name == "exclusive_or":
        x = np.stack([np.tanh(bit_log_odds(told, z[s]) / 2) for s in ("left", "right")], 1)
        return x, x[:, :1] * x[:, 1:]
    if name == "ratio":
        x = np.stack([np.log((np.abs(z[s]) ** 2).sum(1)) for s in ("left", "right")], 1)
        return x, x[:, :1] * x[:, 1:]
    left, right = z["left"][:, 0], z["right"][:, 0]
    x = np.stack([f for u in (left, right) for f in (u.real, u.imag, (u * u).real, (u * u).imag, np.abs(u))], 1)
    return x, (right * left.conj()).imag[:, None]


def fit_logistic(x, target):
    """Newton's method; a breath of ridge, since classes may be separable."""
    x = np.column_stack([x, np.ones(len(x))])
    weight = np.zeros(x.shape[1])
    for _ in range(30):
        p = expit(x @ weight)
        hessian = (x * (p * (1 - p))[:, None]).T @ x + 1e-3 * np.eye(len(weight))
        weight -= np.linalg.solve(hessian, x.T @ (p - target) + 1e-3 * weight)
    return x @ weight


def standard_error(value, windows=2 * FRAMES):
    return (value * (1 - value) / windows) ** 0.5


def test_the_best_rule_scores_on_the_file_what_the_truth_states(planted):
    name, told, z, target = planted
    right = ((joint_log_odds(name, told, z) > 0) == target).mean()
    for names in ("left+right", "left+right+noise"):
        stated = told["accuracy"][names]
        assert stated["standard_error"] == 0
        assert right == pytest.approx(stated["value"], abs=3 * standard_error(stated["value"]))


def test_what_is_planted_is_what_was_asked_for(planted):
    name, told, _, _ = planted
    accuracy = {names: figure["value"] for names, figure in told["accuracy"].items()}
    single, joint = (0.63, 0.987) if name == "ratio" else (0.5, 0.9975)
    expected = {"left": single, "right": single, "noise": 0.5, "left+right": joint, "left+noise": single}
    assert accuracy == pytest.approx(
        {**expected, "right+noise": single, "left+right+noise": joint}, abs=0.001 if name == "ratio" else 0.0001
    )


@pytest.mark.parametrize("sensor", ["left", "right", "noise"])
def test_single_sensors_know_what_the_truth_states(planted, sensor):
    name, told, z, target = planted
    stated = told["accuracy"][sensor]["value"]
    if name == "ratio":
        loud = loud_log_odds(told, z[sensor]) > 0
        guess = loud if sensor == "left" else ~loud
    else:  # no likelihood: the law is the same in both classes, in strength and in phase
        assert stated == 0.5
        for value in (np.abs(z[sensor][:, 0]), np.abs(z[sensor][:, -1]), np.angle(z[sensor][:, 0])):
            assert stats.ks_2samp(value[target == 1], value[target == 0]).pvalue > 1e-3
        guess = bit_log_odds(told, z[sensor]) > 0 if name == "exclusive_or" else np.angle(z[sensor][:, 0]) > 0
    assert (guess == target).mean() == pytest.approx(stated, abs=3 * standard_error(stated))


def test_the_average_of_own_best_predictions_of_the_ratio_is_as_stated_and_so_is_a_blurred_one(root):
    truth, arrays = load(root, "ratio")
    told, target, z = truth["interactions"]["ratio"], arrays["target"], {}
    for sensor in ("left", "right"):
        wave = carriers(truth, "ratio", sensor)
        z[sensor] = 2 / wave.shape[-1] * np.einsum("nct,kct->nk", arrays[sensor], wave.conj(), optimize=True)
    left, right = loud_log_odds(told, z["left"]), -loud_log_odds(told, z["right"])
    averages = {"logits": (left + right) / 2 > 0, "probabilities": (expit(left) + expit(right)) / 2 > 0.5}
    for of, guess in averages.items():
        stated = told["late_average"][of]["value"]
        assert (guess == target).mean() == pytest.approx(stated, abs=3 * standard_error(stated))
    rng = np.random.default_rng(0)
    for deviation, figure in told["blurred_average"].items():
        guess = left + right + float(deviation) * rng.standard_normal((2, len(target))).sum(0) > 0
        error = np.hypot(standard_error(figure["value"]), figure["standard_error"])
        assert (guess == target).mean() == pytest.approx(figure["value"], abs=3 * error)
        assert 0.7 < figure["value"] < 0.92


def test_additive_log_odds_learn_nothing_but_of_the_ratio_and_their_product_does(planted):
    name, told, z, target = planted
    alone, together = features(name, told, z)
    score = fit_logistic(alone, target)
    if name == "ratio":
        stated = told["accuracy"]["left+right"]["value"]
        assert ((score > 0) == target).mean() == pytest.approx(stated, abs=3 * standard_error(stated))
        return
    assert {figure["value"] for figure in told["late_average"].values()} == {0.5}
    gain = len(target) * np.log(2) + log_expit(score * (2 * target - 1)).sum()  # of the log-likelihood
    assert stats.chi2(alone.shape[1] + 1).sf(2 * gain) > 1e-3  # Wilks
    score = fit_logistic(together, target)  # the test would notice
    assert ((score > 0) == target).mean() > 0.98


@pytest.mark.parametrize("name", ["exclusive_or", "synchrony"])
def test_no_rule_is_better_the_likelihood_of_all_samples_says_the_same(root, name):
    """Dense oracle: white noise and rhythms jointly normal, bits and phases summed over."""
    truth, arrays = load(root, name)
    told, windows = truth["interactions"][name], slice(0, 40)
    phases = told["amplitude"] * np.exp(2j * np.pi * np.arange(64) / 64)
    exponent, z = {}, {}
    for sensor in ("left", "right"):
        wave = carriers(truth, name, sensor)
        x, flat = arrays[sensor][windows].reshape(40, -1).astype(float), wave.reshape(len(wave), -1)
        z[sensor] = 2 / wave.shape[-1] * x @ flat.conj().T
        covariance = 0.5 * (flat.T @ flat.conj()).real + 0.25 * np.eye(x.shape[1])
        means = (phases[:, None, None] * flat).real  # (phase, rhythm, sample)
        solved = np.linalg.solve(covariance, means.reshape(-1, x.shape[1]).T)
        solved = solved.T.reshape(means.shape)
        exponent[sensor] = np.einsum("nt,fkt->nfk", x, solved) - 0.5 * (means * solved).sum(-1)
    if name == "exclusive_or":
        left, right = (np.logaddexp.reduce(exponent[sensor], 1) for sensor in ("left", "right"))
        one = np.logaddexp(left[:, 0] + right[:, 1], left[:, 1] + right[:, 0])
        dense = one - np.logaddexp(left[:, 0] + right[:, 0], left[:, 1] + right[:, 1])
        expected = 2 * np.arctanh(joint_log_odds(name, told, z))
    else:
        left, right = exponent["left"][..., 0], exponent["right"][..., 0]
        one, zero = (np.logaddexp.reduce(left + np.roll(right, shift, 1), 1) for shift in (-16, 16))
        dense, expected = one - zero, joint_log_odds(name, told, z)
    np.testing.assert_allclose(dense, expected, atol=1e-3)


def test_noise_is_independent_of_the_others_also_in_its_gain(planted):
    name, _, z, target = planted
    power = {sensor: (np.abs(z[sensor]) ** 2).sum(1) for sensor in SENSORS}
    assert stats.ks_2samp(power["noise"][target == 1], power["noise"][target == 0]).pvalue > 1e-3
    for sensor in ("left", "right"):
        assert stats.spearmanr(power["noise"], power[sensor]).pvalue > 1e-3
        turn = np.angle(z["noise"][:, 0] * z[sensor][:, 0].conj())
        assert stats.kstest(turn, stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 1e-3
    if name == "ratio":  # the test would notice
        assert stats.spearmanr(power["left"], power["right"]).pvalue < 1e-20


def test_bits_are_balanced_in_each_class_and_independent_of_the_order(root):
    truth, arrays = load(root, "exclusive_or")
    wave = carriers(truth, "exclusive_or", "left")
    bit = np.abs(np.einsum("nct,kct->nk", arrays["left"], wave.conj(), optimize=True)).argmax(1)
    assert stats.chi2_contingency(np.histogram2d(bit, arrays["target"], 2)[0]).pvalue > 1e-3
    assert stats.chi2_contingency(np.histogram2d(bit[:-1], bit[1:], 2)[0]).pvalue > 1e-3
    assert bit.mean() == pytest.approx(0.5, abs=3 * standard_error(0.5))


@pytest.mark.parametrize("name", NAMES)
def test_shapes_classes_and_groups_are_as_stated(root, name):
    _, arrays = load(root, name)
    assert set(arrays) == {*SENSORS, "target", "groups"}
    for sensor in SENSORS:
        assert arrays[sensor].shape == (2 * FRAMES, 3, 128)
        assert arrays[sensor].dtype == np.float32
        assert np.isfinite(arrays[sensor]).all()
        assert len(np.unique(arrays[sensor][:, 0, 0])) > 1.99 * FRAMES  # no window is another's copy
    assert arrays["target"].dtype == np.int64
    groups, sizes = np.unique(arrays["groups"], return_counts=True)
    assert len(groups) == FRAMES
    assert set(sizes) == {2}
    assert np.bincount(arrays["target"]).tolist() == [FRAMES] * 2


def test_files_sensors_and_seeds_share_no_numbers(root, tmp_path):
    white = {}  # what is left of a window without its rhythms
    render(tmp_path, 1, seed=3, task="joint_signals")
    for folder in (root, tmp_path):
        for name in NAMES:
            truth, arrays = load(folder, name)
            for sensor in SENSORS:
                flat = carriers(truth, name, sensor).reshape(-1, 384)
                x = arrays[sensor][:2].reshape(2, -1)
                rest = x - (2 / 128 * x @ flat.conj().T @ flat).real
                white.update({(folder, name, sensor, k): rest[k] for k in range(2)})
    correlation = np.corrcoef(list(white.values()))
    assert np.abs(correlation - np.eye(len(white))).max() < 5 / 384**0.5
    assert np.std(list(white.values())) == pytest.approx(0.5, abs=0.01)


def test_gains_and_windows_of_every_file_have_streams_of_their_own():
    indices = [(), *((k,) for k in range(20))]
    first = [make_generator(seed, name, *k).random() for seed in range(3) for name in NAMES for k in indices]
    assert len(set(first)) == len(first) == 3 * 3 * 21


def digests(root):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in root.iterdir()}


def test_same_seed_same_bytes_and_more_frames_change_none(tmp_path):
    for name, frames, seed in (("a", 3, 5), ("b", 3, 5), ("c", 5, 5), ("d", 3, 6)):
        render(tmp_path / name, frames, seed, "joint_signals")
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    for file in NAMES:
        few, more, other = (load(tmp_path / name, file)[1] for name in "acd")
        for name in (*SENSORS, "groups"):
            np.testing.assert_array_equal(few[name], more[name][:6])
            assert name == "groups" or not (few[name] == other[name]).any()


def test_refuses_to_write_over_any_data_set_and_overwrites_only_its_own(tmp_path):
    render(tmp_path, 2, task="joint_signals")
    before = digests(tmp_path)
    for task in ("joint_signals", "signals", "shape"):
        with pytest.raises(DataError, match=r"found a data set already \(1 \.json, 3 \.npz files, such as truth\.json"):
            render(tmp_path, 1, task=task)
    assert digests(tmp_path) == before
    (tmp_path / "mine.npz").write_text("mine")
    render(tmp_path, 2, task="signals", overwrite=True)
    assert {path.name for path in tmp_path.iterdir()} == {"mine.npz", "signals.npz", "truth.json"}
    render(tmp_path, 2, task="joint_signals", overwrite=True)
    assert {path.name for path in tmp_path.iterdir()} == {"mine.npz", "truth.json", *(f"{name}.npz" for name in NAMES)}


@pytest.mark.parametrize("name", NAMES)
def test_the_array_data_module_reads_it_and_splits_have_both_classes_alike(root, name):
    data = ArrayDataModule(root / f"{name}.npz", split=FractionSplit(0.6, 0.2, 0.2, seed=0))
    assert shapes_of(data.modalities) == dict.fromkeys(SENSORS, (3, 128))
    data.setup("fit")
    assert data.target[:2] == ("multiclass", 2)
    assert data.class_counts().tolist() == [1200, 1200]  # a group is one window of each class
