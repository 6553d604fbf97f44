"""`fusionlit compare`: every model on the same splits, resumable."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from fusionlit.compare import Candidate, Ledger, train_all
from fusionlit.errors import ConfigError

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "configs/model/centralnet.yaml"
DATA = ROOT / "configs/data/replicator_shape.yaml"
QUICK = "max_epochs: 1\nenable_progress_bar: false\naccelerator: cpu\nlog_every_n_steps: 1\n"


def test_compare_trains_every_model_on_the_same_splits(fusionlit, shapes, tmp_path, capsys):
    trainer, out = tmp_path / "trainer.yaml", tmp_path / "out"
    trainer.write_text(QUICK)
    models = [str(ROOT / f"configs/model/{name}.yaml") for name in ("centralnet", "unimodal_rgb")]
    data = ["--data", DATA, f"--data.root={shapes}"]
    fusionlit("compare", *data, "--models", *models, "--seeds", "2", "--trainer", trainer, "--out", out)
    rows = Ledger(out / "rows.jsonl").rows()
    assert [(row.model, row.seed) for row in rows] == [
        ("centralnet", 0),
        ("unimodal_rgb", 0),
        ("centralnet", 1),
        ("unimodal_rgb", 1),
    ]
    assert rows[0].metrics["test/loss"] != rows[2].metrics["test/loss"]
    assert len({(row.origin.data, row.origin.split) for row in rows}) == 1
    assert [row.origin.hash == rows[0].origin.hash for row in rows] == [True, False, True, False]
    assert rows[0].origin.configuration["data"]["init_args"]["root"] == str(shapes)
    assert all(row.seconds > 0 for row in rows)
    table = capsys.readouterr().out
    assert "unimodal_rgb" in table
    assert "±" in table
    assert "epoch_seconds" in table
    assert "unimodal_loss" not in table  # only CentralNet has it


def test_compare_takes_arguments_of_the_data_beside_its_file(fusionlit, planted_signals, tmp_path, capsys):
    data = ["--data", ROOT / "configs/data/planted_signals.yaml", f"--data.path={planted_signals}"]
    (tmp_path / "early.yaml").write_text("class_path: EarlyFusion\n")
    (tmp_path / "trainer.yaml").write_text("max_epochs: 1\nlimit_train_batches: 1\nenable_progress_bar: false\n")
    files = ["--models", tmp_path / "early.yaml", "--trainer", tmp_path / "trainer.yaml", "--out", tmp_path / "out"]
    for _ in range(2):  # the second time, nothing is left to train
        fusionlit("compare", *data, *files)
    assert capsys.readouterr().out.count("run 1 of 1") == 1
    saved = (tmp_path / "out/early/seed0/config.yaml").read_text()
    assert f"path: {planted_signals}" in saved
    with pytest.raises(SystemExit, match=r"measured differently: data\.batch_size was 64, now 3\. Restore"):
        fusionlit("compare", *data, "--data.batch_size=3", *files)


def test_compare_goes_on_where_it_was_interrupted(fusionlit, shapes, tmp_path, capsys):
    trainer, out = tmp_path / "trainer.yaml", tmp_path / "out"
    trainer.write_text(QUICK)
    data = ["--data", DATA, f"--data.root={shapes}"]
    args = [*data, "--models", ROOT / "configs/model/unimodal_rgb.yaml", "--trainer", trainer, "--out", out]
    fusionlit("compare", *args, "--seeds", "2")
    file, checkpoints = out / "rows.jsonl", [out / f"unimodal_rgb/seed{seed}/checkpoints/best.ckpt" for seed in (0, 1)]
    rows = Ledger(file).rows()
    written = [path.stat().st_mtime_ns for path in checkpoints]

    file.write_text(file.read_text().splitlines()[0] + "\n")  # as if it had been cut off in the second run
    capsys.readouterr()
    fusionlit("compare", *args, "--seeds", "2")
    assert "run 2 of 2: unimodal_rgb, seed 1" in capsys.readouterr().out
    again = Ledger(file).rows()
    assert [row.metrics["test/loss"] for row in again] == [row.metrics["test/loss"] for row in rows]
    assert checkpoints[0].stat().st_mtime_ns == written[0]
    assert checkpoints[1].stat().st_mtime_ns > written[1]

    trainer.write_text(QUICK.replace("1\n", "2\n", 1))
    for broken, message in [
        (None, "seed 0, that was measured differently: trainer.max_epochs was 1, now 2."),
        (lambda: file.write_text('{"model": "uni\n'), "rows.jsonl: line 1 is not a row of results"),
    ]:
        if broken:
            broken()
        with pytest.raises(SystemExit) as stop:
            fusionlit("compare", *args, "--seeds", "2")
        assert message in str(stop.value)


def test_compare_finds_mistakes_before_it_trains(fusionlit, shapes, tmp_path):
    broken, parallel = tmp_path / "broken.yaml", tmp_path / "parallel.yaml"
    broken.write_text("class_path: Unimodal\ninit_args:\n  modality: radar\n")
    parallel.write_text("devices: 2\nstrategy: ddp\naccelerator: cpu\n")
    models = ["--data", DATA, f"--data.root={shapes}", "--models", MODEL]
    cases = [
        ([*models, broken], "`modality` to be one of"),
        ([*models, MODEL], "different names"),
        ([*models, tmp_path / "none.yaml"], "does not exist"),
        ([*models, "--seeds", "0"], "`seeds` to be at least 1"),
        ([*models, "--trainer", parallel], "Expected one process for a comparison"),
    ]
    for args, message in cases:
        with pytest.raises(SystemExit) as stop:
            fusionlit("compare", *args, "--out", tmp_path / "out")
        assert message in str(stop.value)
    assert not (tmp_path / "out/rows.jsonl").exists()


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Compare models on a small file of arrays, from Python, in one batch of training."""
    monkeypatch.setenv("COLUMNS", "200")
    rng = np.random.default_rng(0)
    arrays = {name: rng.normal(size=(60, 4)).astype(np.float32) for name in "ab"}
    np.savez(tmp_path / "arrays.npz", **arrays, target=np.arange(60) % 2)
    trainer = {"max_epochs": 1, "limit_train_batches": 1, "enable_progress_bar": False, "accelerator": "cpu"}

    def run(models, seeds=(0,), overrides=None, data=tmp_path / "arrays.npz"):
        given = {"class_path": "ArrayDataModule", "init_args": {"path": str(data)}}
        return train_all(given, models, seeds, {**trainer, "log_every_n_steps": 1}, tmp_path / "out", None, overrides)

    return run


def test_a_model_may_have_options_of_its_own(small):
    models = {name: Candidate({"class_path": "Unimodal"}, {"model.modality": name}) for name in "ab"}
    rows = small(models, seeds=[3])
    assert [(row.model, row.seed) for row in rows] == [("a", 3), ("b", 3)]
    named = [row.origin.configuration["model"]["init_args"]["modality"] for row in rows]
    assert named == ["a", "b"]


def test_other_data_and_another_split_are_refused_under_the_same_configuration(small, tmp_path):
    file = tmp_path / "arrays.npz"
    models = {"early": Candidate("EarlyFusion")}
    saved = dict(np.load(file))
    split = np.array(["train", "val", "test"])[np.arange(60) // 2 % 3]
    np.savez(file, **saved, split=split)
    (row,) = small(models)
    assert small(models) == [row]

    np.savez(file, **saved, split=np.roll(split, 2))
    with pytest.raises(
        ConfigError, match=r"seed 0, .* differently: the split has changed, with the same configuration"
    ):
        small(models)
    np.savez(file, **{**saved, "a": saved["a"] + 1}, split=split)
    with pytest.raises(ConfigError, match="differently: the data set has changed, with the same configuration"):
        small(models)


def test_rows_that_do_not_say_what_they_are_of_are_taken_with_a_warning(small, tmp_path):
    (tmp_path / "out").mkdir()
    flat = {"model": "early", "seed": 0, "test/accuracy": 0.75}
    (tmp_path / "out/rows.jsonl").write_text(json.dumps(flat) + "\n")
    with pytest.warns(UserWarning, match="1 rows do not record their configuration"):
        (row,) = small({"early": Candidate("EarlyFusion")})
    assert row.metrics == {"test/accuracy": 0.75}


def test_only_a_run_of_this_comparison_is_begun_anew(small, tmp_path):
    models = {"early": Candidate("EarlyFusion")}
    small(models)
    (tmp_path / "out/rows.jsonl").unlink()
    with pytest.raises(ConfigError, match="Expected a folder without a run"):
        small(models)
    shutil.rmtree(tmp_path / "out")
    assert len(small(models)) == 1


def test_runs_without_a_choice_and_folders_of_another_comparison_are_refused_before_training(small, tmp_path):
    models = {"early": Candidate("EarlyFusion")}
    for overrides in ({"trainer.enable_checkpointing": False}, {"trainer.limit_val_batches": 0}):
        with pytest.raises(ConfigError, match="Expected runs that select a checkpoint by validation"):
            small(models, overrides=overrides)
    with pytest.raises(ConfigError, match="at least one seed"):
        small(models, seeds=())
    small(models)
    checkpoint = next((tmp_path / "out").rglob("best.ckpt")).stat().st_mtime_ns
    given = {"class_path": "ArrayDataModule", "init_args": {"path": str(tmp_path / "arrays.npz")}}
    with pytest.raises(ConfigError, match=r"an `out` without another comparison, but .*out has rows\.jsonl"):
        train_all(given, models, (0,), None, tmp_path / "out", tmp_path / "all.jsonl")
    assert next((tmp_path / "out").rglob("best.ckpt")).stat().st_mtime_ns == checkpoint
