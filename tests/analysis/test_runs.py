import dataclasses
import os
import re
from pathlib import Path

import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger

from fusionlit.analysis import Trajectories, find_run, read_trajectories, weights
from fusionlit.errors import ConfigError, DataError


def write_run(folder: Path, points, kind="fusion_weights"):
    """One event file with `points[step] = (rgb, lidar)` of the layer `stage1`."""
    logger = TensorBoardLogger(folder.parent, name="", version=folder.name)
    for step, (rgb, lidar) in points.items():
        logger.log_metrics({"val/loss": 1.0, f"{kind}/stage1/rgb": rgb, f"{kind}/stage1/lidar": lidar}, step=step)
    logger.finalize("success")
    return folder


def save_run(folder: Path, points, name="last"):
    """A checkpoint of a run with the same points, as FusionWeightLogger leaves them there."""
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    state = dataclasses.asdict(Trajectories(expected(points)))
    saved = {"callbacks": {"Timer": {}, "FusionWeightLogger": state}, "state_dict": {"x": torch.zeros(3)}}
    torch.save(saved, folder / f"checkpoints/{name}.ckpt")
    return folder


def expected(points):
    return {"stage1": {"rgb": {s: x for s, (x, _) in points.items()}, "lidar": {s: y for s, (_, y) in points.items()}}}


def test_what_the_logger_wrote_is_read_back(tmp_path):
    # Multiples of 2^-16 are exact in float32; more points than TensorBoard itself keeps.
    points = {step: (step / 65536, 1 - step / 65536) for step in range(0, 12000)}
    run = write_run(tmp_path / "run", points)
    assert read_trajectories(run).fusion_weights == expected(points)


def test_a_checkpoint_is_read_whatever_the_logger(tmp_path):
    points = {0: (0.5, 0.5), 10: (0.25, 0.75)}
    save_run(tmp_path / "run", points)
    save_run(tmp_path / "run", {0: (0.5, 0.5)}, "best")  # the later file, of the earlier model
    torch.save([1, 2], tmp_path / "run/checkpoints/other.ckpt")
    (tmp_path / "run/checkpoints/cut.ckpt").write_bytes(b"PK")
    folder, trajectories = find_run(tmp_path)
    assert folder == tmp_path / "run"
    assert trajectories.fusion_weights == expected(points)


def test_event_files_are_read_where_no_checkpoint_has_weights(tmp_path):
    points = {0: (0.5, 0.5), 10: (0.25, 0.75)}
    run = write_run(tmp_path / "run", points)
    (run / "checkpoints").mkdir()
    torch.save({"state_dict": {}}, run / "checkpoints/last.ckpt")
    assert read_trajectories(run).fusion_weights == expected(points)
    save_run(run, {0: (0.5, 0.5), 20: (0.125, 0.875)})
    assert read_trajectories(run).fusion_weights == expected({0: (0.5, 0.5), 20: (0.125, 0.875)})


def test_a_resumed_run_replaces_what_it_did_again(tmp_path):
    write_run(tmp_path / "run", {0: (0.5, 0.5), 10: (0.25, 0.75), 20: (0.0, 1.0), 25: (0.125, 0.875)})
    write_run(tmp_path / "run", {10: (0.75, 0.25), 20: (1.0, 0.0)})
    merged = {0: (0.5, 0.5), 10: (0.75, 0.25), 20: (1.0, 0.0)}
    assert read_trajectories(tmp_path / "run").fusion_weights == expected(merged)


def test_a_later_file_without_weights_replaces_nothing(tmp_path):
    write_run(tmp_path / "run", {0: (0.5, 0.5), 10: (0.25, 0.75)})
    write_run(tmp_path / "run", {0: (0.5, 0.5)}, kind="test/contributions")
    assert read_trajectories(tmp_path / "run").fusion_weights == expected({0: (0.5, 0.5), 10: (0.25, 0.75)})


def test_a_run_that_was_killed_is_read_up_to_there(tmp_path):
    points = dict.fromkeys(range(50), (0.5, 0.5))
    (file,) = write_run(tmp_path / "run", points).glob("events*")
    file.write_bytes(file.read_bytes()[:-20])
    lines = read_trajectories(tmp_path / "run").fusion_weights["stage1"]
    assert len(lines["rgb"]) == 50
    assert len(lines["lidar"]) == 49


def test_the_newest_run_with_weights_is_found(tmp_path):
    runs = [write_run(tmp_path / "a" / f"version_{i}", {0: (i / 4, 0.5)}) for i in range(3)]
    other = write_run(tmp_path / "a" / "version_9", {0: (0.5, 0.5)}, kind="train")
    for age, run in enumerate([other, runs[1], runs[2], runs[0]]):  # by age, not by name
        for file in run.iterdir():
            os.utime(file, (1e9 - age, 1e9 - age))
    folder, trajectories = find_run(tmp_path)
    assert folder == runs[1]
    assert trajectories.fusion_weights == expected({0: (0.25, 0.5)})
    assert find_run(runs[0])[0] == runs[0]


def test_errors_say_what_is_missing(tmp_path):
    with pytest.raises(
        DataError, match=re.escape(f"Expected the folder of a run, but {tmp_path / 'none'} is not a folder.")
    ):
        find_run(tmp_path / "none")
    with pytest.raises(
        DataError, match=re.escape(f"in {tmp_path} or below, but found none: train with checkpoints or a TensorBoard")
    ):
        find_run(tmp_path)
    write_run(tmp_path / "concat", {0: (0.5, 0.5)}, kind="train")
    with pytest.raises(DataError, match="the model has no fusion weights, or it was trained without the callback"):
        find_run(tmp_path)
    with pytest.raises(ConfigError, match=re.escape("Expected `output` to end in .png, .svg, .pdf, but got 'x.jpg'")):
        weights(tmp_path, Path("x.jpg"))


@pytest.mark.parametrize(("suffix", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_weights_prints_a_table_and_saves_the_figure(tmp_path, capsys, suffix, start):
    run = write_run(tmp_path / "run", {0: (0.5, 0.5), 10: (0.3, 0.7)})
    write_run(run, {10: (0.2, 0.8)}, kind="contributions")
    output = tmp_path / f"figure.{suffix}"
    weights(run, output)
    printed = capsys.readouterr().out
    rows = [re.findall(r"[^\s│┃]+", line) for line in printed.splitlines()]
    assert ["stage1", "rgb", "0.500", "0.300", "0.500", "0.300", "0.200", "-"] in rows
    assert ["lidar", "0.500", "0.500", "0.700", "0.700", "0.800", "-"] in rows
    assert f"The figure is in {output}" in printed
    assert output.read_bytes().startswith(start)


def test_a_weight_that_came_back_has_been_somewhere(tmp_path, capsys):
    weights(save_run(tmp_path / "run", {0: (0.5, 0.5), 10: (0.76, 0.24), 20: (0.5, 0.5)}))
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["layer", "source", "initial", "lowest", "highest", "final", "contribution", "attribution"] in rows
    assert ["stage1", "rgb", "0.500", "0.500", "0.760", "0.500", "-", "-"] in rows


def test_a_folder_above_says_which_run_it_took(tmp_path, capsys):
    run = write_run(tmp_path / "version_0", {0: (0.5, 0.5)})
    weights(tmp_path)
    assert f"{run} is the newest run with fusion weights in {tmp_path}." in capsys.readouterr().out
    assert (run / "fusion_weights.png").is_file()
