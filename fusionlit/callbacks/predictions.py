"""Writes predictions to a file."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from lightning.pytorch.utilities import rank_zero_info


class PredictionWriter(BasePredictionWriter):
    """Write the predictions of a `predict` run to `predictions.csv` in the run's folder, one row per sample.

    Columns: `index`, the sample's index in the data set; `target`, if known; and `prediction`, or `target_<name>` and
    `prediction_<name>` for several outputs: the probability of each class or label, or the value of each regression
    output. Under DDP, each process writes its own samples to `predictions_<rank>.csv`.
    """

    def __init__(self) -> None:
        super().__init__(write_interval="epoch")

    def write_on_epoch_end(
        self, trainer: Trainer, pl_module: LightningModule, predictions: Sequence[Any], batch_indices: Sequence[Any]
    ) -> None:
        """Write all predictions."""
        names = getattr(getattr(pl_module, "target", None), "names", ())
        header: list[str] = []
        columns: list[torch.Tensor] = []
        for part in filter(predictions[0].__contains__, ("index", "target", "prediction")):
            values = torch.cat([batch[part].cpu() for batch in predictions])
            several = values.ndim == 2
            header += [f"{part}_{name}" for name in names or range(values.shape[1])] if several else [part]
            columns += values.unbind(1) if several else [values]
        file = "predictions.csv" if trainer.world_size == 1 else f"predictions_{trainer.global_rank}.csv"
        path = Path(trainer.log_dir or trainer.default_root_dir) / file
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as out:
            writer = csv.writer(out)
            writer.writerow(header)
            writer.writerows(zip(*(column.tolist() for column in columns), strict=True))
        rank_zero_info(f"The predictions are in {path}")
