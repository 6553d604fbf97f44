"""`fusionlit fit --folds K`: one training per fold, and the mean of what they say."""

import csv
import json
import sys
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch

from fusionlit.cli.fusion_cli import FusionCLI
from fusionlit.models import CentralNet, Ensemble

ROOT = Path(__file__).parents[2]
ARGS = [
    f"--data={ROOT}/configs/data/replicator_shape.yaml",
    f"--model={ROOT}/configs/model/centralnet.yaml",
    "--model.encoder.init_args.widths=[4]",
    "--data.batch_size=8",
    "--trainer.logger=false",
    "--trainer.max_epochs=1",
    "--checkpoint.dirpath=taken_by_none",
    "--folds=2",
]


@pytest.fixture
def folds(fusionlit, shapes, tmp_path):
    """The command, without a logger: its run lies in `tmp_path`."""
    return lambda *more: fusionlit("fit", *ARGS, f"--data.root={shapes}", *more)


@pytest.mark.filterwarnings("ignore:TemperatureScaling. there is no optimal temperature")
def test_each_fold_validates_once_and_the_ensemble_is_the_members_mean(folds, fusionlit, tmp_path, capsys, monkeypatch):
    (tmp_path / "my_encoder.py").write_text(
        "from fusionlit.encoders import ConvEncoder\n\nclass Mine(ConvEncoder):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    folds("--trainer.callbacks+=TemperatureScaling", "--model.encoder=my_encoder.Mine")
    said = capsys.readouterr().out
    rows = [json.loads((tmp_path / f"fold{k}/fold.json").read_text()) for k in range(2)]
    assert all(f"{row['val/accuracy']:.4g}" in said and f"{row['val/accuracy_smoothed']:.4g}" in said for row in rows)
    assert "±" in said
    path, config = tmp_path / "ensemble/checkpoints/ensemble.ckpt", tmp_path / "ensemble/config.yaml"
    assert f"The ensemble of 2 folds is in {path}. Next: fusionlit test --config {config} --ckpt_path {path}" in said

    made = [
        FusionCLI(run=False, args=["--config", str(tmp_path / f"fold{k}/config.yaml")]).datamodule for k in range(2)
    ]
    for data in made:
        data.setup("fit")
    validated = [data.dataset("val").rows.tolist() for data in made]
    assert sorted(chain(*validated)) == sorted([*validated[0], *made[0].dataset("train").rows.tolist()])
    assert len(set(chain(*validated))) == len(validated[0]) + len(validated[1])
    assert made[0].dataset("test").rows.tolist() == made[1].dataset("test").rows.tolist()
    assert not set(chain(*validated)) & set(made[0].dataset("test").rows.tolist())

    members = [CentralNet.load_from_checkpoint(row["checkpoint"]).eval() for row in rows]
    assert not torch.equal(members[0].normalization["rgb"].mean, members[1].normalization["rgb"].mean)
    batches = [made[0].convert(batch) for batch in made[0].test_dataloader()]
    mean = torch.cat(
        [sum(m.task.predict(m(batch["inputs"]).prediction) for m in members).detach() / 2 for batch in batches]
    )
    for row in rows:
        Path(row["checkpoint"]).unlink()  # what follows needs the ensemble alone
    loaded = Ensemble.load_from_checkpoint(path).eval()
    outputs = torch.cat([loaded.task.predict(loaded(batch["inputs"]).prediction) for batch in batches])
    torch.testing.assert_close(outputs, mean)

    csv_logger = ["--trainer.logger=lightning.pytorch.loggers.CSVLogger", f"--trainer.logger.save_dir={tmp_path}/log"]
    del sys.modules["my_encoder"]  # the next command is another process, and its configuration names the module
    fusionlit("test", f"--config={config}", f"--ckpt_path={path}", *csv_logger)
    with (tmp_path / "log/lightning_logs/version_0/metrics.csv").open() as file:
        (tested,) = csv.DictReader(file)
    hits = mean.argmax(1) == torch.cat([batch["target"] for batch in batches])
    assert float(tested["test/accuracy"]) == pytest.approx(hits.double().mean().item())
    assert {"test/accuracy/rgb", "test/accuracy/lidar"} <= set(tested)
    data = [arg for arg in ARGS if arg.startswith("--data")]
    root = f"--data.root={made[0].root}"
    fusionlit("predict", *data, root, "--model=Ensemble", f"--ckpt_path={path}", *csv_logger)
    with (tmp_path / "log/lightning_logs/version_1/predictions.csv").open() as file:
        predicted = [float(row["prediction_cubes"]) for row in csv.DictReader(file)]
    assert predicted == pytest.approx(mean[:, 0].tolist(), abs=1e-5)


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists")
def test_folds_go_on_where_they_were_cut_off_and_in_no_other_run(folds, tmp_path):
    folds()
    best = [tmp_path / f"fold{k}/checkpoints/best.ckpt" for k in range(2)]
    written = [path.stat().st_mtime_ns for path in best]
    with pytest.raises(SystemExit, match="Expected a folder without a run"):
        folds()
    (tmp_path / "fold1/fold.json").unlink()
    (tmp_path / "ensemble").rename(tmp_path / "away")
    with pytest.raises(SystemExit, match="Expected a folder without a run"):
        folds("--seed_everything=1")
    folds()
    assert best[0].stat().st_mtime_ns == written[0]
    assert best[1].stat().st_mtime_ns > written[1]
    first, second = (
        torch.load(tmp_path / name / "checkpoints/ensemble.ckpt", weights_only=True)["state_dict"]
        for name in ("away", "ensemble")
    )
    assert all(torch.equal(first[key], x) for key, x in second.items())


@pytest.mark.filterwarnings("ignore:.*has no samples of these classes. 2. Its metrics")
def test_a_class_that_a_fold_cannot_train_on_is_refused_before_any_training(fusionlit, tmp_path):
    target = np.r_[np.zeros(30), np.ones(29), 2].astype(int)
    np.savez(tmp_path / "rare.npz", a=np.ones((60, 4), np.float32), b=np.ones((60, 4), np.float32), target=target)
    data = ["--data=ArrayDataModule", f"--data.path={tmp_path / 'rare.npz'}", "--model=IntermediateFusion"]
    with pytest.raises(SystemExit) as stop:
        fusionlit("fit", *data, "--folds=4", f"--trainer.default_root_dir={tmp_path}")
    assert "of 4 cannot be used; fewer folds may help." in str(stop.value)
    assert "has no samples of these classes: 2. They cannot be learned." in str(stop.value)
    assert not list(tmp_path.rglob("*.ckpt"))
    assert not list(tmp_path.rglob("config.yaml"))
