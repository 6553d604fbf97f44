"""Comparison of the fused prediction with the best single modality."""

from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from fusionlit.models.base import FusionModule
from fusionlit.types import Batch


class FusionGain(Callback):
    """Warn at the end of training if the fusion is no better than a unimodal head.

    It compares the task's main metric over the validation set, such as `val/accuracy` with `val/accuracy/<modality>`,
    at the latest epoch with the best fused prediction. A modality that is missing from some validation samples is left
    out, since its metric is over different samples. Models without unimodal heads are not compared.
    """

    def __init__(self) -> None:
        self._fused: Tensor | None = None
        self._single: dict[str, Tensor] = {}
        self._incomplete: set[str] = set()

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reset the state of an earlier run."""
        self._fused, self._single, self._incomplete = None, {}, set()

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401 (Lightning's own type)
        batch: Batch,
        *_: Any,  # noqa: ANN401
    ) -> None:
        """Record which modalities are missing from a sample."""
        presence = batch.get("presence", {})
        self._incomplete |= {name for name, there in presence.items() if not bool(there.all())}

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Store the metrics of the best epoch so far."""
        metrics = trainer.callback_metrics
        if trainer.sanity_checking or not isinstance(pl_module, FusionModule):
            return
        name = f"val/{pl_module.task.main_metric}"
        sign = 1 if pl_module.task.higher_is_better else -1
        if name in metrics and (self._fused is None or sign * metrics[name] >= sign * self._fused):
            self._fused = metrics[name]
            singles = {x: f"{name}/{x}" for x in pl_module.modalities if x not in self._incomplete}
            self._single = {modality: metrics[key] for modality, key in singles.items() if key in metrics}

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Warn if a modality is as good as the fusion."""
        short = trainer.fast_dev_run  # type: ignore[attr-defined]  # set in its constructor
        if short or self._fused is None or not self._single or not isinstance(pl_module, FusionModule):
            return
        metric, sign = pl_module.task.main_metric, 1 if pl_module.task.higher_is_better else -1
        best = max(self._single, key=lambda modality: sign * float(self._single[modality]))
        if sign * float(self._single[best]) >= sign * float(self._fused):
            rank_zero_warn(
                f"The fusion is no better than its best single modality, {best}: the validation {metric} is"
                f" {float(self._fused):.4g}, and {float(self._single[best]):.4g} for the unimodal head of {best}."
                f" Compare with a model of {best} alone (`Unimodal`), or try another fusion model."
            )
