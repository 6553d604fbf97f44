"""Runs, their folders and their checkpoints."""

import shutil
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
DATA = ROOT / "configs/data/replicator_shape.yaml"
README = (ROOT / "README.md").read_text()
CSV = "lightning.pytorch.loggers.CSVLogger"


def test_checkpoint_on_other_data_says_what_differs(fusionlit, shapes, tmp_path, capsys, fit_args):
    fusionlit("fit", *fit_args(shapes, tmp_path))
    best = tmp_path / "lightning_logs/version_0/checkpoints/best.ckpt"
    saved = torch.load(best, weights_only=True)
    saved["modalities"] = [["rgb", [4, 32, 32]], ["radar", [4, 64, 64]]]
    other = tmp_path / "other.ckpt"
    torch.save(saved, other)
    with pytest.raises(SystemExit) as stop:
        fusionlit("test", *fit_args(shapes, tmp_path), f"--ckpt_path={other}")
    assert "radar (4, 64, 64) is in the checkpoint only" in str(stop.value)
    assert "rgb is (4, 32, 32) in the checkpoint, but (4, 64, 64) in the data" in str(stop.value)


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists")
def test_a_run_goes_on_in_its_own_folder_and_in_no_other(fusionlit, shapes, tmp_path, fit_args):
    board = "lightning.pytorch.loggers.TensorBoardLogger"
    args = fit_args(shapes, tmp_path, f"--trainer.logger={board}", "--trainer.logger.version=0")
    fusionlit("fit", *args)
    with pytest.raises(SystemExit) as stop:
        fusionlit("fit", *args)
    assert "Expected a folder without a run" in str(stop.value)
    run = tmp_path / "lightning_logs/version_0"
    last = run / "checkpoints/last.ckpt"
    before = torch.load(last, weights_only=True)["global_step"]
    fusionlit("fit", *args, "--trainer.max_epochs=2", f"--ckpt_path={last}")
    assert torch.load(last, weights_only=True)["global_step"] == 2 * before


BOARD = "lightning.pytorch.loggers.TensorBoardLogger"
IN_PLACE = [f"--trainer.logger={BOARD}", *(f"--trainer.logger.{x}" for x in ("save_dir=.", "name=", "version="))]


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists")
@pytest.mark.parametrize("logger", [["--trainer.logger=false"], IN_PLACE], ids=["no logger", "TensorBoard"])
def test_a_second_run_in_the_working_folder_leaves_the_first_alone(
    fusionlit, planted_signals, tmp_path, monkeypatch, logger
):
    monkeypatch.chdir(tmp_path)
    data = [f"--data={ROOT}/configs/data/planted_signals.yaml", f"--data.path={planted_signals}"]
    args = [*data, "--model=EarlyFusion", "--trainer.limit_train_batches=1", "--trainer.log_every_n_steps=1", *logger]
    fusionlit("fit", *args, "--trainer.max_epochs=1")
    files = [Path("config.yaml"), Path("checkpoints/best.ckpt")]
    before = [file.read_bytes() for file in files]
    Path("lightning_logs/version_0/checkpoints").mkdir(parents=True)
    below = shutil.copy("checkpoints/best.ckpt", "lightning_logs/version_0/checkpoints/best.ckpt")
    for given in ([], [f"--ckpt_path={below}"]):
        with pytest.raises(SystemExit, match="Expected a folder without a run"):
            fusionlit("fit", *args, "--trainer.max_epochs=2", *given)
    assert [file.read_bytes() for file in files] == before

    fusionlit("fit", *args, "--trainer.max_epochs=2", "--ckpt_path=checkpoints/last.ckpt")
    assert torch.load("checkpoints/last.ckpt", weights_only=True)["epoch"] == 1
    assert "max_epochs: 2" in Path("config.yaml").read_text()


def test_the_last_checkpoint_is_the_last_even_if_it_got_worse(fusionlit, shapes, tmp_path, fit_args):
    worse = ["--trainer.max_epochs=3", "--model.training.optimizer=Adam", "--model.training.optimizer.lr=10"]
    fusionlit("fit", *fit_args(shapes, tmp_path, *worse, "--checkpoint.monitor=train/loss", "--checkpoint.mode=max"))
    folder = tmp_path / "lightning_logs/version_0/checkpoints"
    epochs = {name: torch.load(folder / f"{name}.ckpt", weights_only=True)["epoch"] for name in ("best", "last")}
    assert epochs["last"] == 2
    assert epochs["best"] < 2


@pytest.mark.filterwarnings("ignore:The dirpath has changed")  # to go on in a new folder is meant here
def test_a_checkpoint_overrides_nothing_that_was_asked_for(fusionlit, shapes, tmp_path, fit_args):
    fusionlit("fit", *fit_args(shapes, tmp_path))
    run = tmp_path / "lightning_logs/version_0"
    last = run / "checkpoints/last.ckpt"

    def stop_message(command, *args):
        with pytest.raises(SystemExit) as stop:
            fusionlit(command, *args)
        return str(stop.value)

    early = fit_args(shapes, tmp_path, f"--model={ROOT}/configs/model/early.yaml", f"--ckpt_path={last}")
    assert "contains a fusionlit.CentralNet, but the command line asks" in stop_message("test", *early)
    wider = fit_args(shapes, tmp_path, "--model.encoder.init_args.widths=[4, 9]", f"--ckpt_path={last}")
    assert "The checkpoint contains a different model: encoder is" in stop_message("fit", *wider)
    assert "there is no file none.ckpt" in stop_message("test", *fit_args(shapes, tmp_path), "--ckpt_path=none.ckpt")
    assert "README.md to be a checkpoint, but it is damaged" in stop_message(
        "test", *fit_args(shapes, tmp_path), f"--ckpt_path={ROOT}/README.md"
    )

    logger = [f"--trainer.logger={CSV}", f"--trainer.logger.save_dir={tmp_path}", "--trainer.log_every_n_steps=1"]
    bare = [f"--data={DATA}", f"--data.root={shapes}", "--model=CentralNet", "--data.batch_size=8", *logger]
    fusionlit("test", *bare, f"--ckpt_path={last}")  # what the command line leaves open is as in the checkpoint
    mult = ["--model.training.fusion_lr_mult=3", "--trainer.max_epochs=2"]
    fusionlit("fit", *fit_args(shapes, tmp_path, *mult), f"--ckpt_path={last}")
    assert "fusion_lr_mult: 3.0" in (tmp_path / "lightning_logs/version_2/config.yaml").read_text()


def test_other_unimodal_heads_than_the_checkpoints_are_refused(fusionlit, planted_signals, tmp_path):
    data = [f"--data={ROOT}/configs/data/planted_signals.yaml", f"--data.path={planted_signals}"]
    few = ["--trainer.limit_train_batches=1", "--trainer.limit_val_batches=1", "--trainer.log_every_n_steps=1"]
    logger = [f"--trainer.logger={BOARD}", f"--trainer.logger.save_dir={tmp_path}"]
    args = [*data, "--model=IntermediateFusion", "--trainer.max_epochs=1", *few, *logger]
    weight = "--model.training.unimodal_loss_weight="
    for name, given in (("without", "null"), ("with", "0.5")):
        fusionlit("fit", *args, weight + given, f"--trainer.logger.version={name}")
    for name, given, said in (
        ("without", "1.0", "[], but `training.unimodal_loss_weight` asks for ['noise', 'redundant', 'strong', 'weak']"),
        ("with", "0.0", "asks for []. Set it to 0.5, as in the checkpoint, or train from scratch, without"),
    ):
        last = tmp_path / "lightning_logs" / name / "checkpoints/last.ckpt"
        for command in ("fit", "test"):
            with pytest.raises(SystemExit) as stop:
                fusionlit(command, *args, weight + given, f"--ckpt_path={last}")
            assert said in str(stop.value)


def test_checkpoints_can_be_switched_off(fusionlit, shapes, tmp_path, fit_args):
    fusionlit("fit", *fit_args(shapes, tmp_path), "--trainer.enable_checkpointing=false")
    assert not list(tmp_path.rglob("*.ckpt"))


def test_classes_of_other_names_are_refused(fusionlit, shapes, tmp_path, fit_args):
    fusionlit("fit", *fit_args(shapes, tmp_path))
    best = tmp_path / "lightning_logs/version_0/checkpoints/best.ckpt"
    renamed = tmp_path / "renamed"
    shutil.copytree(shapes, renamed)
    (renamed / "cubes").rename(renamed / "z_cubes")
    with pytest.raises(SystemExit) as stop:
        fusionlit("test", *fit_args(renamed, tmp_path), f"--ckpt_path={best}")
    assert "names is ('cubes', 'spheres') in the checkpoint, but ('spheres', 'z_cubes') in the data" in str(stop.value)
