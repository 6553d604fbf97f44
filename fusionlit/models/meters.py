"""Measurements of an epoch: the task's metrics, every loss, and the score of every unimodal head."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, cast

from torch import nn
from torchmetrics import Metric, MetricCollection

from fusionlit.functional import CENTRAL
from fusionlit.tasks import BatchMean, EpochMean, Task
from fusionlit.types import Batch, FusionOutput, Split

if TYPE_CHECKING:
    from fusionlit.models.base import FusionModule


class Meters(nn.Module):
    """Updates with every batch and logs to the model's trainer; the progress bar shows loss and main metric.

    Training logs `train/<loss>` per step. In validation and test, means over an epoch weight each batch by its sum of
    weights, so that they do not depend on how samples are batched.

    Args:
        task: Task whose metrics are measured.
        modalities: Names of the modalities.
    """

    def __init__(self, task: Task, modalities: Iterable[str]) -> None:
        super().__init__()
        self.measure(task)
        modalities = list(modalities)
        names = ["loss", *(f"unimodal_loss/{name}" for name in modalities)]
        self.losses = nn.ModuleDict({name: EpochMean() for name in names})
        self.scores = nn.ModuleDict({source: EpochMean() for source in (*modalities, CENTRAL)})

    def measure(self, task: Task) -> None:
        """Set the task whose metrics are measured."""
        self.train_metrics = task.metrics().clone(prefix="train/")
        self.val_metrics = task.evaluation_metrics().clone(prefix="val/")
        self.test_metrics = task.evaluation_metrics().clone(prefix="test/")

    def of(self, stage: Split) -> MetricCollection:
        """The task's metrics for one split."""
        return cast(MetricCollection, getattr(self, f"{stage}_metrics"))

    def forget(self, stage: Split) -> None:
        """Reset the state of an interrupted epoch."""
        self.of(stage).reset()
        for metric in (*self.losses.values(), *self.scores.values()) if stage != "train" else ():
            cast(Metric, metric).reset()

    def update(
        self, model: "FusionModule", stage: Split, batch: Batch, output: FusionOutput, losses: Mapping[str, BatchMean]
    ) -> None:
        """Update with the outputs and losses of a batch."""
        metrics = self.of(stage)
        # Logging a metric once per epoch is enough for Lightning to compute and reset it; logging every step is slower.
        new = not any(metric.update_called for metric in metrics.values(copy_state=False))
        metrics.update(model.task.predict(output.prediction.detach()), batch["target"])
        size = len(batch["index"])
        if new:
            for name, metric in metrics.items(copy_state=False):
                shown = name == f"{stage}/{model.task.main_metric}"
                model.log(name, metric, on_step=False, on_epoch=True, batch_size=size, prog_bar=shown)
        if stage == "train":
            for name, loss in losses.items():
                model.log(f"train/{name}", loss.value.detach(), batch_size=size, prog_bar=name == "loss")
            return
        means = {f"{stage}/{name}": (self.losses[name], loss) for name, loss in losses.items()}
        presence = batch.get("presence", {})
        central = {} if output.central is None else {CENTRAL: output.central}
        for source, prediction in {**output.unimodal, **central}.items():
            score = model.task.mean_score(prediction, batch["target"], presence.get(source))
            means[f"{stage}/{model.task.main_metric}/{source}"] = (self.scores[source], score)
        for name, (module, value) in means.items():
            mean = cast(EpochMean, module)
            mean.update(value)
            if new:
                model.log(name, mean, on_epoch=True, batch_size=size, prog_bar=name == f"{stage}/loss")
