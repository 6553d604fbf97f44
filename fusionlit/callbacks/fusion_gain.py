"""Compares the fused prediction with that of the best single modality."""

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from fusionlit.models.base import FusionModule


class FusionGain(Callback):
    """Warn at the end of training if one modality's own head is as good as the fusion.

    It compares the task's main metric over the validation set, `val/accuracy` with `val/accuracy/<modality>`, at the
    epoch with the lowest `val/loss`, which `best.ckpt` keeps. Models without unimodal heads have nothing to compare.
    """

    def __init__(self) -> None:
        self._lowest_loss = torch.inf
        self._fused: Tensor | None = None
        self._single: dict[str, Tensor] = {}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget an earlier run."""
        self.__init__()  # type: ignore[misc]  # the state of a new callback

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the metrics of the best epoch so far."""
        metrics = trainer.callback_metrics
        loss = metrics.get("val/loss")
        if trainer.sanity_checking or not isinstance(pl_module, FusionModule) or loss is None:
            return
        name = f"val/{pl_module.task.main_metric}"
        if name in metrics and float(loss) < self._lowest_loss:
            self._lowest_loss = float(loss)
            self._fused = metrics[name]
            singles = {modality: f"{name}/{modality}" for modality in pl_module.modalities}
            self._single = {modality: metrics[key] for modality, key in singles.items() if key in metrics}

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say which modality is as good as the fusion, if one is."""
        if self._fused is None or len(self._single) < 2 or not isinstance(pl_module, FusionModule):
            return
        metric, sign = pl_module.task.main_metric, 1 if pl_module.task.higher_is_better else -1
        best = max(self._single, key=lambda modality: sign * float(self._single[modality]))
        if sign * float(self._single[best]) >= sign * float(self._fused):
            rank_zero_warn(
                f"The best single modality, {best}, is as good as the fusion: its own head has a validation {metric} of"
                f" {float(self._single[best]):.4g}, the fused prediction {float(self._fused):.4g}. Compare with a model"
                f" of {best} alone (`Unimodal`), or try another fusion model."
            )
