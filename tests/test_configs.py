"""Every file under `configs/` is run, and the notebooks' nets have the notebooks' parameters."""

import re
from pathlib import Path

import numpy as np
import pytest

from fusionlit import build_run

CONFIGS = Path(__file__).parents[1] / "configs"
STRATEGIES = sorted((CONFIGS / "model").glob("*.yaml"))
RECIPES = sorted((CONFIGS / "model" / "recipes").glob("*.yaml"))
UCI_HAR = ["uci_har", "uci_har_gravity", "uci_har_nine_sensors"]
SIGNALS = sorted((CONFIGS / "model" / "signals").glob("*.yaml"))
VECTORS = sorted((CONFIGS / "model" / "vectors").glob("*.yaml"))
JOINT = ["joint_exclusive_or", "joint_ratio", "joint_synchrony"]

# Added by the strided form: 9 w^2 + w for every stage of width w.
BRANCH = {"position": 118_300, "shape": 472_850}
PARAMETERS = {
    "position_early": 13_130_959,
    "position_concat": 13_016_659,
    "position_add": 6_616_659,
    "position_hadamard": 6_616_659,
    "position_late": 26_260_847,
    "shape_late": 13_694_510,
    "shape_concat": 13_627_934,
    "shape_add": 7_074_334,
    "shape_hadamard": 7_074_334,
}
STRIDED = {
    "position_early_strided": PARAMETERS["position_early"] + BRANCH["shape"],
    "position_late_strided": PARAMETERS["position_late"] + 2 * BRANCH["shape"],
    **{f"position_{op}_strided": PARAMETERS[f"position_{op}"] + 236_600 for op in ("concat", "add", "hadamard")},
    **{f"shape_{op}_strided": PARAMETERS[f"shape_{op}"] + 945_700 for op in ("late", "concat", "add", "hadamard")},
}


def data_file(model: Path) -> Path:
    task = "position" if model.stem.startswith("position") else "shape"
    return CONFIGS / "data" / f"replicator_{task}.yaml"


def root_for(model: Path, shapes: Path, positions: Path) -> Path:
    return positions if model.stem.startswith("position") else shapes


@pytest.mark.parametrize("model", STRATEGIES + RECIPES, ids=lambda path: path.stem)
def test_every_model_runs_on_its_data(fusionlit, model, shapes, positions):
    root = root_for(model, shapes, positions)
    options = ["--data.batch_size=4", "--trainer.fast_dev_run=1"]
    fusionlit("fit", f"--data={data_file(model)}", f"--model={model}", f"--data.root={root}", *options)


def test_quickstart_runs_and_names_three_parts(fusionlit, shapes, tmp_path):
    file = CONFIGS / "quickstart.yaml"
    parts = dict(line.split(": ") for line in file.read_text().splitlines())
    assert list(parts) == ["data", "model", "trainer"]
    assert all((CONFIGS / part).is_file() for part in parts.values())
    fusionlit("fit", f"--config={file}", f"--data.root={shapes}", "--trainer.fast_dev_run=1")


def test_the_readmes_comparison_runs(fusionlit, shapes):
    files = [f"--data={CONFIGS}/data/replicator_compare.yaml", f"--model={STRATEGIES[0]}"]
    options = [f"--data.root={shapes}", "--trainer.fast_dev_run=1"]
    fractions = ["--data.split.train=0.6", "--data.split.val=0.2", "--data.split.test=0.2"]  # for these few frames
    fusionlit("fit", *files, *options, *fractions)


@pytest.mark.parametrize("model", VECTORS, ids=lambda path: path.stem)
def test_every_model_for_vectors_runs_on_vectors(fusionlit, model, tmp_path):
    rng = np.random.default_rng(0)
    vectors = {name: rng.standard_normal((60, size)).astype(np.float32) for name, size in {"a": 20, "b": 59}.items()}
    np.savez(tmp_path / "vectors.npz", **vectors, target=np.arange(60) % 3)
    data = ["--data=ArrayDataModule", f"--data.path={tmp_path / 'vectors.npz'}"]
    fusionlit("fit", *data, f"--model={model}", "--trainer.fast_dev_run=1")


@pytest.mark.parametrize("model", SIGNALS, ids=lambda path: path.stem)
def test_every_model_for_signals_runs_on_uci_har(fusionlit, model, uci_har_folder):
    options = [f"--data={CONFIGS}/data/uci_har.yaml", f"--data.root={uci_har_folder}"]
    fusionlit("fit", *options, f"--model={model}", "--trainer.fast_dev_run=1")


def test_models_for_signals_differ_in_their_fusion_alone():
    common = [path.read_text().split("  encoder:")[1].split("  training:") for path in SIGNALS]
    assert {line for _, rest in common for line in rest.splitlines() if "unimodal" not in line} == {
        "",
        "    scheduler: WarmupCosine",
    }
    parts = [re.sub(r"  fusion:.*?(?=  head:)", "", body, flags=re.DOTALL) for body, _ in common]
    assert len(set(parts)) == 1


@pytest.mark.parametrize("name", [*UCI_HAR, "planted_compare", "planted_signals"])
def test_centralnet_runs_on_signals(fusionlit, name, uci_har_folder, planted_signals):
    path = f"--data.path={planted_signals}" if name.startswith("planted") else f"--data.root={uci_har_folder}"
    files = [f"--data={CONFIGS}/data/{name}.yaml", f"--model={CONFIGS}/model/centralnet.yaml"]
    fusionlit("fit", *files, path, "--trainer.fast_dev_run=1")


@pytest.mark.parametrize("name", JOINT)
def test_centralnet_runs_on_joint_signals(fusionlit, name, joint_signals):
    files = [f"--data={CONFIGS}/data/{name}.yaml", f"--model={CONFIGS}/model/centralnet.yaml"]
    path = f"--data.path={joint_signals / name.removeprefix('joint_')}.npz"
    fusionlit("fit", *files, path, "--trainer.fast_dev_run=1")


def test_no_part_is_left_out():
    """Trainer and data files are run by the tests above, through the quickstart, the models and the comparison."""
    parts = {kind: [path.stem for path in sorted((CONFIGS / kind).glob("*.yaml"))] for kind in ("data", "trainer")}
    replicator = [f"replicator_{kind}" for kind in ("compare", "position", "shape")]
    assert parts["data"] == [*JOINT, "planted_compare", "planted_signals", *replicator, *UCI_HAR]
    assert parts["trainer"] == ["quickstart"]
    folders = {str(path.parent.relative_to(CONFIGS)) for path in CONFIGS.rglob("*.yaml")}
    assert folders == {".", "data", "trainer", "model", "model/recipes", "model/signals", "model/vectors"}
    assert [path.name for path in CONFIGS.glob("*.yaml")] == ["quickstart.yaml"]
    assert {path.stem for path in RECIPES} == {*PARAMETERS, *STRIDED}


@pytest.mark.parametrize("model", RECIPES, ids=lambda path: path.stem)
def test_recipes_have_the_notebooks_parameters(model, shapes, positions):
    root = root_for(model, shapes, positions)
    run = build_run(data_file(model), model, overrides={"data.root": root})
    assert sum(p.numel() for p in run.model.parameters()) == {**PARAMETERS, **STRIDED}[model.stem]
