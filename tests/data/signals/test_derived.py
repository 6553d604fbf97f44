import numpy as np
import pytest
import torch

from fusionlit.data import FractionSplit, SignalAugmentation, SignalDataModule
from fusionlit.data.signals import Derived, Difference, Magnitude
from fusionlit.data.signals.derived import Derivation
from fusionlit.errors import ConfigError
from fusionlit.types import shapes_of

SHAPES = {"total": (3, 16), "body": (3, 16), "ecg": (1, 16)}
GRAVITY = {"gravity": Difference("total", "body"), "strength": Magnitude("gravity")}


def inputs(batch=5):
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(batch, *shape, generator=generator) for name, shape in SHAPES.items()}


def test_derived_modalities_follow_the_packed_ones_and_are_what_numpy_computes():
    derivation = Derivation(SHAPES, GRAVITY, None)
    assert shapes_of(derivation.specs) == {**SHAPES, "gravity": (3, 16), "strength": (1, 16)}
    packed = inputs()
    found = derivation.inputs(packed)
    assert list(found) == list(derivation.specs)
    assert all(found[name] is x for name, x in packed.items())
    gravity = packed["total"].numpy() - packed["body"].numpy()
    np.testing.assert_array_equal(found["gravity"].numpy(), gravity)
    np.testing.assert_allclose(found["strength"].numpy(), np.sqrt((gravity**2).sum(1, keepdims=True)), rtol=1e-6)


def test_keep_chooses_and_orders_what_the_model_gets():
    derivation = Derivation(SHAPES, GRAVITY, ["strength", "body"])
    assert list(shapes_of(derivation.specs).items()) == [("strength", (1, 16)), ("body", (3, 16))]
    assert list(derivation.inputs(inputs())) == ["strength", "body"]


def test_a_derived_modality_is_absent_where_any_source_is():
    there = {
        "total": np.array([True, True, False, False]),
        "body": np.array([True, False, True, False]),
        "ecg": np.ones(4, np.bool_),
    }
    found = Derivation(SHAPES, GRAVITY, None).presence(there)
    both = [True, False, False, False]
    assert {name: each.tolist() for name, each in found.items()} == {
        **{name: each.tolist() for name, each in there.items()},
        "gravity": both,
        "strength": both,
    }
    assert Derivation(SHAPES, GRAVITY, ["ecg"]).presence(there) == {}
    assert Derivation(SHAPES, GRAVITY, None).presence({}) == {}


@pytest.mark.parametrize(
    ("derived", "keep", "message"),
    [
        ({"body": Magnitude("total")}, None, r"new modalities, but the data already has 'body'\. Choose another name"),
        (
            {"a": Magnitude("acc")},
            None,
            r"`derived` .* before it, \['total', 'body', 'ecg'\], but got \['acc'\]",
        ),
        ({"a": Magnitude("b"), "b": Magnitude("ecg")}, None, r"'a' in `derived` .* but got \['b'\]"),
        (
            {"a": Difference("total", "ecg")},
            None,
            r"two sources of equal shape .*, but 'total' is \(3, 16\) and 'ecg' is \(1, 16\)",
        ),
        (None, ["total", "gyro"], r"`keep` to name some of \['total', 'body', 'ecg'\], each once, but got .*'gyro'"),
        (None, [], r"`keep` to name some of .* but got \[\]"),
        (None, ["ecg", "ecg"], r"`keep` to name some of .* each once, but got \['ecg', 'ecg'\]"),
    ],
)
def test_what_cannot_be_derived_is_refused(derived, keep, message):
    with pytest.raises(ConfigError, match=message):
        Derivation(SHAPES, derived, keep)


def test_a_derived_class_of_ones_own_must_be_whole():
    class Half(Derived):
        def shape(self, *sources):
            return sources[0]

    with pytest.raises(ConfigError, match="__call__"):
        Half("a")


# In the data module


@pytest.fixture
def file(tmp_path):
    """24 windows of a total and a body acceleration, the latter with a long gap in window 4."""
    names = [f"{sensor}_{axis}" for sensor in ("total", "body") for axis in "xyz"]
    x = np.random.default_rng(0).normal(size=(24, 6, 16)).astype(np.float32)
    x[4, 3, 2:9] = np.nan
    x[5] = np.nan
    path = tmp_path / "set.npz"
    np.savez(path, X=x, y=np.tile([0, 1], 12), groups=np.repeat(np.arange(6), 4), channels=names)
    return path, x


def ready(path, **options):
    data = SignalDataModule(path, split=FractionSplit(1, 0, 0), on_missing="mask", batch_size=24, **options)
    data.setup("fit")
    return data


def whole(data):
    return data.convert(data.dataset("train").__getitems__(list(range(len(data.dataset("train"))))))


def test_the_data_module_derives_them_with_their_presence(file):
    path, x = file
    with pytest.warns(UserWarning, match="Left out 1 windows"):
        data = ready(path, derived=GRAVITY)
    assert shapes_of(data.modalities) == {"total": (3, 16), "body": (3, 16), "gravity": (3, 16), "strength": (1, 16)}
    batch = whole(data)
    index = batch["index"].numpy()
    assert 5 not in index
    there = batch["presence"]["gravity"].numpy()
    np.testing.assert_array_equal(there, index != 4)
    np.testing.assert_array_equal(batch["presence"]["strength"].numpy(), there)
    assert batch["presence"]["total"].all()
    expected = x[index, :3] - x[index, 3:]
    np.testing.assert_array_equal(batch["inputs"]["gravity"].numpy()[there], expected[there])
    statistics = data.input_statistics()["gravity"]
    torch.testing.assert_close(statistics.mean, torch.from_numpy(expected[there].mean((0, 2))))


def test_windows_without_anything_that_is_kept_are_left_out(file):
    path, _ = file
    with pytest.warns(UserWarning, match="Left out 2 windows"):
        data = ready(path, derived=GRAVITY, keep=["strength"])
    batch = whole(data)
    assert list(batch["inputs"]) == ["strength"]
    assert len(batch["index"]) == 22
    assert torch.isfinite(batch["inputs"]["strength"]).all()


def test_the_pack_is_the_same_with_and_without_them(file):
    path, _ = file
    with pytest.warns(UserWarning, match="Left out"):
        ready(path)
    packs = sorted(path.parent.joinpath(".fusionlit").rglob("*"))
    times = [each.stat().st_mtime_ns for each in packs]
    with pytest.warns(UserWarning, match="Left out"):
        ready(path, derived=GRAVITY, keep=["gravity"])
    assert sorted(path.parent.joinpath(".fusionlit").rglob("*")) == packs
    assert [each.stat().st_mtime_ns for each in packs] == times


def test_rotation_turns_gravity_with_the_sensors_and_leaves_magnitudes(file):
    path, _ = file
    augmentation = SignalAugmentation(rotation=180)
    with pytest.warns(UserWarning, match="Left out"):
        data = ready(path, derived=GRAVITY, augmentation=augmentation)
    clean = whole(data)["inputs"]
    varied = augmentation(clean, (1, 2))
    torch.testing.assert_close(varied["gravity"], varied["total"] - varied["body"], equal_nan=True)
    assert torch.equal(varied["strength"].nan_to_num(), clean["strength"].nan_to_num())
    norm = varied["gravity"].norm(dim=1, keepdim=True)
    torch.testing.assert_close(norm, varied["strength"], rtol=1e-4, atol=1e-5, equal_nan=True)


def test_they_train_from_yaml_by_their_short_names(fusionlit, uci_har_folder, tmp_path):
    config = tmp_path / "data.yaml"
    config.write_text(
        "class_path: SignalDataModule\ninit_args:\n  derived:\n"
        "    gravity: {class_path: Difference, init_args: {of: total_acc, minus: body_acc}}\n"
        "    body_mag: {class_path: Magnitude, init_args: {of: body_acc}}\n"
        "  keep: [body_acc, body_gyro, gravity, body_mag]\n"
        "  augmentation: {class_path: SignalAugmentation, init_args: {rotation: 30, jitter: 0.05}}\n"
    )
    options = [f"--data.root={uci_har_folder}", "--model=LateFusion", "--trainer.fast_dev_run=1"]
    fusionlit("fit", f"--data={config}", *options)
