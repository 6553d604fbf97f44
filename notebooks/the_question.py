"""The question's CentralNet, each change to it alone, and fusionlit's default; for the notebook and the benchmark.

The question: "Very small weight updates", https://discuss.pytorch.org/t/very-small-weight-updates/50119
"""

import json
import logging
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, replace
from functools import partial
from io import StringIO
from multiprocessing import get_context
from os import cpu_count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer, seed_everything
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MetricCollection
from tqdm import tqdm

from fusionlit.analysis import Trajectories
from fusionlit.callbacks import FusionWeightLogger
from fusionlit.data import FusionDataModule
from fusionlit.encoders import ConvEncoder, MLPHead
from fusionlit.errors import ConfigError, DataError
from fusionlit.fusion import WeightForm
from fusionlit.models import CentralNet
from fusionlit.models.training import Training
from fusionlit.tasks import MulticlassClassification, SampleLosses, Task
from fusionlit.types import TargetSpec

Row = dict[str, Any]
RATE = 1e-3
"""Learning rate of everything but the fusion weights."""


@dataclass(frozen=True)
class Setting:
    """One way to build and train a CentralNet; the defaults are the question's.

    Args:
        weights: Form of the fusion weights.
        source_norm: Bring each source to unit rms before the sum, at the feature layers.
        adam: Adam instead of SGD with a momentum of 0.9.
        mult: Learning rate of the fusion weights over that of everything else.
        l1: Factor of the sum of magnitudes, of the parameters behind the fusion weights, in the loss.
        l2: Weight decay of everything else.
        bce: Binary cross-entropy of each class against the rest, instead of the cross-entropy over the classes.
        relu: ReLU on the fused prediction.
        fuse_predictions: Fuse the predictions of the modalities into that of the central net.
        held_out: Share of the training samples that teach the fusion weights, and nothing else.
    """

    weights: WeightForm = "raw"
    source_norm: bool = False
    adam: bool = False
    mult: float = 1.0
    l1: float = 0.01
    l2: float = 1e-4
    bce: bool = True
    relu: bool = True
    fuse_predictions: bool = True
    held_out: float = 0.0


QUESTION = Setting()
WEIGHTS = Setting("softmax", source_norm=True, adam=True, mult=30.0, l1=0.0, l2=0.0, bce=False, relu=False)
DEFAULT = replace(WEIGHTS, mult=50.0, fuse_predictions=False, held_out=0.1)
SETTINGS = {
    "the question": QUESTION,
    "weights' rate 0.01": replace(QUESTION, mult=10.0),
    "weights' rate 0.1": replace(QUESTION, mult=100.0),
    "no L1": replace(QUESTION, l1=0.0),
    "no L2": replace(QUESTION, l2=0.0),
    "Adam": replace(QUESTION, adam=True),
    "cross-entropy": replace(QUESTION, bce=False),
    "no ReLU": replace(QUESTION, relu=False),
    "weights' rate x 30": replace(QUESTION, mult=30.0),
    "softmax": replace(QUESTION, weights="softmax"),
    "source_norm": replace(QUESTION, source_norm=True),
    "all of these": WEIGHTS,
    "default": DEFAULT,
}
"""The question, what it saw with higher rates, each change to it alone, all of them, and fusionlit's default.

In the default the central net also predicts alone, and the weights learn from held-out samples.
"""


class L1Penalty(Callback):
    """Adds `factor * sum |w|`, over the parameters behind all fusion weights, to the loss: by its gradient."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:  # noqa: ANN401
        """Add to the gradient."""
        for operator in pl_module.fusion_layers().values():
            for weight in operator.fusion_parameters():
                weight.grad += self.factor * weight.detach().sign()


class OneAgainstRest(Task):
    """One of K classes, by K binary cross-entropies with logits."""

    kind = "multiclass"
    main_metric = "accuracy"

    def __init__(self, target: TargetSpec) -> None:
        super().__init__(target)
        self.classes = MulticlassClassification(target)

    def losses(self, prediction: Tensor, target: Tensor) -> SampleLosses:
        """Mean of the K cross-entropies of each sample."""
        one_hot = F.one_hot(target, self.target.size).to(prediction.dtype)
        losses = F.binary_cross_entropy_with_logits(prediction, one_hot, reduction="none").mean(1)
        return SampleLosses(losses, torch.ones_like(losses))

    def predict(self, prediction: Tensor) -> Tensor:
        """Probability of each class against the rest."""
        return prediction.sigmoid()

    def scores(self, prediction: Tensor, target: Tensor) -> Tensor:
        """As for one of K classes."""
        return self.classes.scores(prediction, target)

    def metrics(self) -> MetricCollection:
        """As for one of K classes."""
        return self.classes.metrics()

    def check_values(self, target: Tensor) -> None:
        """As for one of K classes."""
        self.classes.check_values(target)


@dataclass(frozen=True)
class Plan:
    """What all settings share: data, encoder, length of the training.

    Args:
        data: Makes the data module.
        epochs: Of every run; the model of the last one is tested.
        widths: Channels behind the stages of every encoder.
        hidden: Widths of the hidden layers of every head.
        dropout: In the heads.
        every_epoch: Measure contributions after every epoch, not only after the last.
        results: File to which every row is added as soon as it is there.
    """

    data: Callable[[], FusionDataModule]
    epochs: int
    widths: Sequence[int]
    hidden: Sequence[int] = ()
    dropout: float = 0.0
    every_epoch: bool = True
    results: Path | None = None


def make_model(setting: Setting, plan: Plan, data: FusionDataModule) -> CentralNet:
    """The setting's CentralNet."""
    sgd = partial(torch.optim.SGD, lr=RATE, momentum=0.9, weight_decay=setting.l2)
    adam = partial(torch.optim.Adam, lr=RATE, weight_decay=setting.l2)
    model = CentralNet(
        data.modalities,
        data.target,
        encoder=partial(ConvEncoder, widths=plan.widths, kernel_size=9, norm="batch"),
        head=partial(MLPHead, hidden=plan.hidden, dropout=plan.dropout),
        weights=setting.weights,
        source_norm=setting.source_norm,
        fuse_predictions=setting.fuse_predictions,
        task=OneAgainstRest if setting.bce else None,
        training=Training(adam if setting.adam else sgd, fusion_lr_mult=setting.mult, fusion_held_out=setting.held_out),
    )
    if setting.relu:
        model.fusions["prediction"].register_forward_hook(lambda module, inputs, output: output.relu())
    return model


def train(setting: Setting, seed: int, plan: Plan) -> tuple[CentralNet, Trajectories, float]:
    """Train one model; gives it, what its weights and shares did, and its accuracy on the test split."""
    with warnings.catch_warnings(), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")  # Lightning's advice on workers and loggers
        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
        seed_everything(seed, verbose=False)
        data = plan.data()
        model = make_model(setting, plan, data)
        watch = FusionWeightLogger(every_n_steps=10, figure=False)
        trainer = Trainer(
            max_epochs=plan.epochs,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            check_val_every_n_epoch=1 if plan.every_epoch else plan.epochs,
            callbacks=[watch, L1Penalty(setting.l1)],
        )
        trainer.fit(model, data)
        accuracy = trainer.test(model, data, verbose=False)[0]["test/accuracy"]
    return model, watch.trajectories, accuracy


def train_all(settings: Mapping[str, Setting], seeds: Sequence[int], plan: Plan, done: Sequence[Row] = ()) -> list[Row]:
    """One row for every setting and seed, in their order; those in `done` are not trained again.

    A row holds `setting`, `seed`, what both mean (`made_with`), `accuracy` on the test split, and in `layers` for each
    layer and source the fusion weight before and after training, and contribution and attribution after it, on the
    validation split. One process a core trains; every row is added to `plan.results` at once.

    Raises:
        ConfigError: If a row in `done` was made with another setting or plan.
    """
    rows = {(row["setting"], row["seed"]): row for row in done}
    for (name, seed), row in rows.items():
        if name in settings and row["made_with"] != made_with(settings[name], plan):
            raise ConfigError(
                f"{plan.results} has a row of {name!r}, seed {seed}, that was made with {row['made_with']}, but now"
                f" {made_with(settings[name], plan)} is asked for. Remove the file, or ask as before."
            )
    names = [(name, seed) for seed in seeds for name in settings]
    wanted = [pair for pair in names if pair not in rows]
    workers = min(cpu_count() or 1, max(1, len(wanted)))
    with ProcessPoolExecutor(workers, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        jobs = [pool.submit(train_row, name, settings[name], seed, plan) for name, seed in wanted]
        try:
            for job in tqdm(as_completed(jobs), "training", len(jobs), disable=not jobs):
                row = job.result()
                rows[row["setting"], row["seed"]] = row
                if plan.results:
                    with plan.results.open("a") as file:
                        file.write(json.dumps(row) + "\n")
        except BaseException:
            pool.shutdown(cancel_futures=True)  # one run failed, or somebody has pressed Ctrl-C: no further ones
            raise
    return [rows[pair] for pair in names]


def train_row(name: str, setting: Setting, seed: int, plan: Plan) -> Row:
    """Train one model, and keep what a table needs."""
    _, trajectories, accuracy = train(setting, seed, plan)
    layers: dict[str, dict[str, dict[str, float | None]]] = {}
    for layer, sources in trajectories.fusion_weights.items():
        for source, points in sources.items():
            shares = {
                "contribution": trajectories.contributions.get(layer, {}).get(source, {}),
                "attribution": trajectories.attributions.get(layer, {}).get(source, {}),
            }
            layers.setdefault(layer, {})[source] = {
                "initial": round(points[min(points)], 4),
                "final": round(points[max(points)], 4),
                # None where all is zero, or for what is handed down
                **{key: round(x[max(points)], 4) if max(points) in x else None for key, x in shares.items()},
            }
    return {
        "setting": name,
        "seed": seed,
        "made_with": made_with(setting, plan),
        "accuracy": round(accuracy, 4),
        "layers": layers,
    }


def made_with(setting: Setting, plan: Plan) -> Row:
    """What a row depends on, beside data and seed, as JSON has it."""
    shared = {"epochs": plan.epochs, "widths": list(plan.widths), "hidden": list(plan.hidden), "dropout": plan.dropout}
    return {**asdict(setting), **shared}


def read_rows(file: Path) -> list[Row]:
    """The rows of a file that `train_all` has written.

    Raises:
        DataError: If a line is none, such as one that a kill has torn.
    """
    lines = file.read_text().splitlines()
    try:
        return [json.loads(line) for line in lines]
    except ValueError as error:
        raise DataError(f"{file}: expected a row in every line ({error}). Remove the lines that are none.") from error


def last_layer(row: Row) -> dict[str, dict[str, float | None]]:
    """The figures of every source where the prediction is made: the predictions, or else the last stage."""
    layers: list[dict[str, dict[str, float | None]]] = list(row["layers"].values())
    return layers[-1]


def moved(row: Row, *, last: bool) -> float:
    """How far fusion weights moved: the largest change in each layer, on average over the layers.

    Args:
        row: Of one run.
        last: In the last layer; otherwise in all layers before it.
    """
    *before, final = row["layers"].values()
    layers = [final] if last else before
    return float(np.mean([max(abs(x["final"] - x["initial"]) for x in sources.values()) for sources in layers]))


def markdown_table(rows: Sequence[Row], sensors: Sequence[str]) -> str:
    """A line a setting, mean ± standard deviation over its seeds: see the column names."""
    columns: dict[str, Callable[[Row], float]] = {
        "moved, before": partial(moved, last=False),
        "moved, last layer": partial(moved, last=True),
        **{f"a({name})": partial(_at_last_layer, source=name, key="final") for name in sensors},
        **{f"c({name})": partial(_at_last_layer, source=name, key="contribution") for name in ["central", *sensors]},
        **{f"T({name})": partial(_at_last_layer, source=name, key="attribution") for name in sensors},
        "test accuracy %": lambda row: 100 * row["accuracy"],
    }
    lines = ["| setting | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    for name in dict.fromkeys(row["setting"] for row in rows):
        cells = []
        for column, value in columns.items():
            values = [value(row) for row in rows if row["setting"] == name]
            digits = 1 if "%" in column else 3
            spread = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
            cells.append(f"{np.mean(values):.{digits}f}{spread}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _at_last_layer(row: Row, source: str, key: str) -> float:
    """A figure of a sensor at the last layer; NaN where there is none, since every weight is zero."""
    value = last_layer(row)[source][key]
    return math.nan if value is None else value
