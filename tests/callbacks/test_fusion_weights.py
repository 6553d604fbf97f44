import csv
import logging
import re
from functools import partial
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout

from fusionlit.analysis import Trajectories, read_trajectories
from fusionlit.callbacks import FusionWeightLogger
from fusionlit.encoders import MLPEncoder
from fusionlit.errors import ConfigError
from fusionlit.fusion import CrossModalAttention, WeightedAverage
from fusionlit.models import CentralNet, IntermediateFusion, LateFusion

ENCODER = partial(MLPEncoder, widths=[8, 8])
LAYERS = {
    "inputs": ["strong", "noise"],
    "stage1": ["central", "strong", "noise"],
    "stage2": ["central", "strong", "noise"],
}


class WeightHistory(Callback):
    """Reads the weights from the module itself at every optimizer step."""

    def __init__(self):
        self.history = {}

    def on_train_start(self, trainer, pl_module):
        self.on_train_batch_end(trainer, pl_module)

    def on_train_batch_end(self, trainer, pl_module, *_):
        self.history[trainer.global_step] = values(pl_module.fusion_weights())


def values(layers):
    return {(layer, source): x.mean().item() for layer, sources in layers.items() for source, x in sources.items()}


def at_step(lines, step):
    return {(layer, source): points[step] for layer, sources in lines.items() for source, points in sources.items()}


def steps(lines):
    """The steps of the lines, which all have the same."""
    (same,) = {tuple(points) for sources in lines.values() for points in sources.values()}
    return list(same)


def read_csv(logger):
    with (Path(logger.log_dir) / "metrics.csv").open() as file:
        return [{key: value for key, value in row.items() if value} for row in csv.DictReader(file)]


@pytest.fixture
def make_trainer(make_trainer):
    return partial(make_trainer, log_every_n_steps=1)


@pytest.fixture
def data(planted):
    return planted(size=40)  # batches of 16, 16 and 8: three optimizer steps an epoch


@pytest.fixture
def model(data):
    torch.manual_seed(0)
    return CentralNet(data.modalities, data.target, encoder=ENCODER)


@pytest.fixture
def board(tmp_path):
    return TensorBoardLogger(tmp_path, name="board", default_hp_metric=False)


@pytest.fixture
def table(tmp_path):
    return CSVLogger(tmp_path, name="table")


def test_every_logger_gets_the_weights_that_the_module_had(model, data, make_trainer, board, table):
    history = WeightHistory()
    logger = FusionWeightLogger(every_n_steps=2, figure=False)
    make_trainer(max_epochs=3, callbacks=[logger, history], logger=[board, table]).fit(model, data)

    lines = read_trajectories(Path(board.log_dir)).fusion_weights
    assert {layer: list(sources) for layer, sources in lines.items()} == LAYERS
    assert steps(lines) == [0, 2, 4, 6, 8, 9]  # before, every second of nine, and the last
    for step in steps(lines):
        assert at_step(lines, step) == pytest.approx(history.history[step], abs=1e-6)
    assert history.history[0] != pytest.approx(history.history[9], abs=1e-3)

    rows = [row for row in read_csv(table) if "fusion_weights/inputs/noise" in row]
    assert [int(row["step"]) for row in rows] == steps(lines)
    for row in rows:
        logged = {(layer, s): float(row[f"fusion_weights/{layer}/{s}"]) for layer in LAYERS for s in LAYERS[layer]}
        assert logged == pytest.approx(at_step(lines, int(row["step"])), abs=1e-6)


def test_a_checkpoint_ends_with_the_weights_of_its_model(model, data, make_trainer, tmp_path):
    history = WeightHistory()
    callbacks = [FusionWeightLogger(every_n_steps=2), history, ModelCheckpoint(tmp_path / "checkpoints")]
    make_trainer(max_epochs=3, callbacks=callbacks, enable_checkpointing=True).fit(model, data)  # without any logger
    lines = read_trajectories(tmp_path).fusion_weights
    assert steps(lines) == [0, 2, 4, 6, 8, 9]  # the ninth is logged when the checkpoint is written already
    for step in steps(lines):
        assert at_step(lines, step) == pytest.approx(history.history[step], abs=1e-6)


def test_accumulated_batches_are_one_step(model, data, make_trainer, table):
    logger = FusionWeightLogger(every_n_steps=1)
    make_trainer(max_epochs=2, accumulate_grad_batches=2, callbacks=[logger], logger=table).fit(model, data)
    rows = [int(row["step"]) for row in read_csv(table) if "fusion_weights/inputs/noise" in row]
    assert rows == [0, 1, 2, 3, 4]


def test_nothing_is_read_between_two_logs(data, make_trainer, table):
    class Counting(CentralNet):
        reads = 0

        def fusion_weights(self):
            self.reads += 1
            return super().fusion_weights()

    class ReadsInSteps(Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            self.before = pl_module.reads

        def on_train_batch_end(self, trainer, pl_module, *_):
            self.during = pl_module.reads - self.before

    counter = ReadsInSteps()
    model = Counting(data.modalities, data.target, encoder=ENCODER)
    make_trainer(callbacks=[FusionWeightLogger(every_n_steps=3), counter], logger=table).fit(model, data)
    assert counter.during == 1  # of three steps


@pytest.mark.parametrize("presence", [False, True])
def test_shares_are_those_of_the_entire_validation_set(planted, model, make_trainer, board, presence):
    data = planted(size=40, presence=presence)
    make_trainer(max_epochs=2, callbacks=[FusionWeightLogger()], logger=board).fit(model, data)
    logged = read_trajectories(Path(board.log_dir))
    assert steps(logged.contributions) == steps(logged.attributions) == [3, 6]  # no sanity check

    samples = data.dataset("val")
    batch = {"inputs": {k: x.clone() for k, x in samples.inputs.items()}, "index": torch.arange(40)}
    batch = data.convert(batch)
    model.eval().measuring = True
    with torch.no_grad():
        energy = model(batch["inputs"], batch.get("presence")).energy
    behind = {}
    for layer, sources in energy.items():
        rms = {source: x.double().mean().sqrt().item() for source, x in sources.items()}
        share = {source: x / sum(rms.values()) for source, x in rms.items()}
        worth = {m: share[m] + share.get("central", 0) * behind.get(m, 0) for m in data.modalities}
        behind = worth
        assert at_step({layer: logged.contributions[layer]}, 6) == pytest.approx(values_of(layer, share), abs=1e-6)
        assert at_step({layer: logged.attributions[layer]}, 6) == pytest.approx(values_of(layer, worth), abs=1e-6)
        assert sum(worth.values()) == pytest.approx(1)


def values_of(layer, shares):
    return {(layer, source): value for source, value in shares.items()}


@pytest.mark.filterwarnings("ignore:This CentralNet has never been trained")
def test_a_test_run_logs_its_own_shares_under_its_own_tags(model, data, make_trainer, table):
    logger = FusionWeightLogger()
    make_trainer(callbacks=[logger], logger=table).test(model, data)
    (row,) = [row for row in read_csv(table) if any("contributions" in key for key in row)]
    shares = {key: float(value) for key, value in row.items() if key.startswith("test/contributions/stage1/")}
    assert list(shares) == sorted(f"test/contributions/stage1/{source}" for source in LAYERS["stage1"])
    assert sum(shares.values()) == pytest.approx(1, abs=1e-6)
    assert not any(key.startswith(("contributions", "attributions", "fusion_weights")) for key in row)
    assert logger.trajectories == Trajectories()


def test_no_module_goes_on_measuring(model, data, make_trainer):
    class Breaks(Callback):
        def on_validation_batch_end(self, trainer, pl_module, *_):
            if not trainer.sanity_checking:
                assert pl_module.measuring
                raise RuntimeError("in the middle")

    make_trainer(callbacks=[FusionWeightLogger()]).fit(model, data)
    assert not model.measuring
    with pytest.raises(RuntimeError, match="in the middle"):
        make_trainer(callbacks=[FusionWeightLogger(), Breaks()]).fit(model, data)
    assert not model.measuring


def test_weights_per_output_are_averaged(data, make_trainer, board):
    model = LateFusion(data.modalities, data.target, encoder=ENCODER, fusion=partial(WeightedAverage, per_output=True))
    make_trainer(callbacks=[FusionWeightLogger()], logger=board).fit(model, data)
    (layer,) = model.fusion_weights()
    assert model.fusion_weights()[layer]["noise"].shape == (2,)
    lines = read_trajectories(Path(board.log_dir)).fusion_weights
    assert at_step(lines, 3) == pytest.approx(values(model.fusion_weights()), abs=1e-6)


def test_a_strategy_without_weights_is_told_once_and_logs_nothing(data, make_trainer, board, caplog):
    model = IntermediateFusion(data.modalities, data.target, encoder=ENCODER)
    with caplog.at_level(logging.INFO):
        make_trainer(max_epochs=2, callbacks=[FusionWeightLogger(every_n_steps=1)], logger=board).fit(model, data)
    said = [record.message for record in caplog.records if "FusionWeightLogger" in record.message]
    assert said == ["IntermediateFusion has no fusion weights; FusionWeightLogger has nothing to log."]
    events = EventAccumulator(board.log_dir).Reload()
    assert not [tag for tag in events.Tags()["scalars"] if "fusion_weights" in tag or "contributions" in tag]
    assert not events.Tags()["images"]
    assert not events.Tags()["tensors"]


def test_tensorboard_has_a_chart_for_each_layer_and_a_figure(model, data, make_trainer, board):
    make_trainer(max_epochs=2, callbacks=[FusionWeightLogger()], logger=board).fit(model, data)
    events = EventAccumulator(board.log_dir).Reload()
    (layout,) = [Layout.FromString(e.tensor_proto.string_val[0]) for e in events.Tensors("custom_scalars__config__")]
    assert [category.title for category in layout.category] == ["fusion_weights", "contributions", "attributions"]
    logged = events.Tags()["scalars"]
    for category in layout.category:
        assert [chart.title for chart in category.chart] == list(LAYERS)
        for chart in category.chart:
            drawn = [[tag for tag in logged if re.match(line, tag)] for line in chart.multiline.tag]
            given = [tag for tag in logged if tag.startswith(f"{category.title}/{chart.title}/")]
            assert drawn == [[tag] for tag in given]
            assert len(given) == len(LAYERS[chart.title]) - (
                "central" in LAYERS[chart.title] and category.title == "attributions"
            )
    assert [image.step for image in events.Images("fusion_weights")] == [3, 6]


def test_the_figure_is_drawn_when_epochs_have_doubled_and_at_the_end(model, data, make_trainer, board):
    make_trainer(max_epochs=5, callbacks=[FusionWeightLogger()], logger=board).fit(model, data)
    events = EventAccumulator(board.log_dir).Reload()
    assert [image.step for image in events.Images("fusion_weights")] == [3, 6, 12, 15]
    assert steps(read_trajectories(Path(board.log_dir)).contributions) == [3, 6, 9, 12, 15]


def test_attention_which_is_no_sum_has_charts_of_its_weights_alone(data, make_trainer, board):
    attention = partial(CrossModalAttention, width=8, heads=2)
    model = IntermediateFusion(data.modalities, data.target, encoder=ENCODER, fusion=attention)
    make_trainer(callbacks=[FusionWeightLogger()], logger=board).fit(model, data)
    events = EventAccumulator(board.log_dir).Reload()
    (layout,) = [Layout.FromString(e.tensor_proto.string_val[0]) for e in events.Tensors("custom_scalars__config__")]
    assert [(category.title, len(category.chart)) for category in layout.category] == [("fusion_weights", 1)]
    assert not [tag for tag in events.Tags()["scalars"] if "contributions" in tag or "attributions" in tag]


def test_a_resumed_run_knows_all_of_its_trajectories(model, data, make_trainer, tmp_path):
    first = FusionWeightLogger(every_n_steps=1)
    trainer = make_trainer(callbacks=[first])
    trainer.fit(model, data)
    trainer.save_checkpoint(tmp_path / "last.ckpt")

    second = FusionWeightLogger(every_n_steps=1)
    resumed = CentralNet(data.modalities, data.target, encoder=ENCODER)
    make_trainer(max_epochs=2, callbacks=[second]).fit(resumed, data, ckpt_path=tmp_path / "last.ckpt")
    assert steps(second.trajectories.fusion_weights) == [0, 1, 2, 3, 4, 5, 6]
    assert at_step(second.trajectories.fusion_weights, 2) == at_step(first.trajectories.fusion_weights, 2)
    assert steps(second.trajectories.contributions) == [3, 6]


def test_steps_must_be_positive():
    with pytest.raises(ConfigError, match="Expected `every_n_steps` to be at least 1, but got 0"):
        FusionWeightLogger(every_n_steps=0)
