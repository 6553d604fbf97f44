"""The question's CentralNet, each change to it alone, and the default; for the notebook and `fusion_weights.py`.

The question: "Very small weight updates", https://discuss.pytorch.org/t/very-small-weight-updates/50119
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MetricCollection

from fusionlit import Run, build_run
from fusionlit.analysis import Trajectories
from fusionlit.callbacks import FusionWeightLogger
from fusionlit.console import quiet_lightning
from fusionlit.fusion import WeightForm
from fusionlit.tasks import MulticlassClassification, SampleLosses, Task
from fusionlit.types import TargetSpec

RATE = 1e-3
"""Learning rate of all parameters except the fusion weights."""


@dataclass(frozen=True)
class Setting:
    """One way to build and train a CentralNet; the defaults are the question's.

    Args:
        weights: Form of the fusion weights.
        source_norm: Scale each source to unit rms before the sum, at the feature layers.
        adam: Adam instead of SGD with a momentum of 0.9.
        mult: Ratio of the fusion weights' learning rate to that of all other parameters.
        l1: Factor of the L1 penalty on the parameters of the fusion weights.
        l2: Weight decay of all other parameters.
        bce: Binary cross-entropy of each class against the rest, instead of the cross-entropy over the classes.
        relu: ReLU on the fused prediction.
        fuse_predictions: Fuse the predictions of the modalities into that of the central network.
        held_out: Fraction of the training samples that train only the fusion weights.
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
"""The question, its variants with higher rates, each change to it alone, all changes, and fusionlit's default.

In the default, the central network alone predicts, and the fusion weights are trained on held-out samples.
"""


class L1Penalty(Callback):
    """Adds the gradient of `factor * sum |w|` over the parameters of all fusion weights."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:  # noqa: ANN401
        """Add the gradient of the penalty."""
        for operator in pl_module.fusion_layers().values():
            for weight in operator.fusion_parameters():
                weight.grad += self.factor * weight.detach().sign()


class RectifiedPrediction(Callback):
    """A ReLU on the fused prediction."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Add the ReLU; a second call has no effect."""
        pl_module.fusions["prediction"].register_forward_hook(lambda module, inputs, output: output.relu())


class OneAgainstRest(Task):
    """Classification into one of K classes by K binary cross-entropies with logits."""

    kind = "multiclass"
    main_metric = "accuracy"

    def __init__(self, target: TargetSpec) -> None:
        super().__init__(target)
        self.classes = MulticlassClassification(target)

    def losses(self, prediction: Tensor, target: Tensor) -> SampleLosses:
        """Mean of the K cross-entropies, for each sample."""
        one_hot = F.one_hot(target, self.target.size).to(prediction.dtype)
        losses = F.binary_cross_entropy_with_logits(prediction, one_hot, reduction="none").mean(1)
        return SampleLosses(losses, torch.ones_like(losses))

    def predict(self, prediction: Tensor) -> Tensor:
        """Probability of each class against the rest."""
        return prediction.sigmoid()

    def scores(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Like multiclass classification."""
        return self.classes.scores(prediction, target)

    def metrics(self) -> MetricCollection:
        """Like multiclass classification."""
        return self.classes.metrics()

    def check_values(self, target: Tensor) -> None:
        """Like multiclass classification."""
        self.classes.check_values(target)


@dataclass(frozen=True)
class Plan:
    """What all settings have in common: data, encoder and training length.

    Args:
        data: Configuration of the data module.
        epochs: Epochs of every run; the model of the last epoch is tested.
        widths: Output channels of the stages of every encoder.
        hidden: Widths of the hidden layers of every head.
        dropout: Dropout in the heads.
        every_epoch: Measure contributions after every epoch, not only after the last.
        results: Ledger to which every row is added immediately.
    """

    data: dict[str, Any]
    epochs: int
    widths: Sequence[int]
    hidden: Sequence[int] = ()
    dropout: float = 0.0
    every_epoch: bool = True
    results: Path | None = None


def make_run(setting: Setting, seed: int, plan: Plan) -> Run:
    """Build the CentralNet of a setting, with data and trainer."""
    optimizer = {"lr": RATE, "weight_decay": setting.l2} | ({} if setting.adam else {"momentum": 0.9})
    encoder = {"widths": list(plan.widths), "kernel_size": 9, "norm": "batch"}
    model = {
        "encoder": {"class_path": "ConvEncoder", "init_args": encoder},
        "head": {"class_path": "MLPHead", "init_args": {"hidden": list(plan.hidden), "dropout": plan.dropout}},
        "weights": setting.weights,
        "source_norm": setting.source_norm,
        "fuse_predictions": setting.fuse_predictions,
        "task": f"{__name__}.OneAgainstRest" if setting.bce else None,
        "training": {
            "optimizer": {"class_path": "Adam" if setting.adam else "SGD", "init_args": optimizer},
            "fusion_lr_mult": setting.mult,
            "fusion_held_out": setting.held_out,
        },
    }
    callbacks = [{"class_path": f"{__name__}.L1Penalty", "init_args": {"factor": setting.l1}}]
    callbacks += [{"class_path": f"{__name__}.RectifiedPrediction"}] if setting.relu else []
    trainer = {
        "max_epochs": plan.epochs,
        "accelerator": "cpu",
        "check_val_every_n_epoch": 1 if plan.every_epoch else plan.epochs,
        "callbacks": callbacks,
        **dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False),
    }
    watch = {"fusion_weights.every_n_steps": 10, "fusion_weights.figure": False}
    return build_run(plan.data, {"class_path": "CentralNet", "init_args": model}, trainer, seed, watch)


def train(setting: Setting, seed: int, plan: Plan) -> tuple[Run, Trajectories, float]:
    """Train one model; returns the run, the trajectories of its weights and shares, and its test accuracy."""
    with silence():
        run = make_run(setting, seed, plan)
        run.trainer.fit(run.model, run.datamodule)
        accuracy = run.trainer.test(run.model, run.datamodule, verbose=False)[0]["test/accuracy"]
    watch = next(each for each in run.trainer.callbacks if isinstance(each, FusionWeightLogger))
    return run, watch.trajectories, accuracy


@contextmanager
def silence() -> Iterator[None]:
    """Hide Lightning's advice on workers and loggers."""
    with quiet_lightning(), warnings.catch_warnings(), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")
        yield
