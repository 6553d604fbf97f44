"""Measures what a run costs."""

import os
import time
from functools import cache
from typing import Any

import psutil
import torch
from lightning import Callback, LightningModule, Trainer

from fusionlit.types import Batch

MB = 1e6


class EfficiencyMonitor(Callback):
    """Log parameters, time, throughput and memory, after each training epoch and after a test.

    - `efficiency/parameters`, `efficiency/trainable_parameters`: numbers of scalars.
    - `efficiency/epoch_seconds`: wall-clock time of a training epoch with its validation, the slowest process's (s),
      without what callbacks do after both, such as drawing; at a test that of the training which the checkpoint comes
      from (its last whole epoch, or as far as its first went).
    - `efficiency/samples_per_second`: training samples of all processes over the time without validation (1/s).
    - `efficiency/test_samples_per_second`: the same of a test, with the loading of its data (1/s).
    - `efficiency/peak_host_memory_mb`: largest memory of a process that belongs to it alone (resident without shared
      pages, which a memory-mapped file fills at will), 10^6 bytes; read after each forward pass, when the
      activations are there; worker processes are not counted.
    - `efficiency/peak_gpu_memory_mb`: largest memory that tensors took on one GPU, 10^6 bytes; only with CUDA.

    Times are taken when the GPU has finished what was asked of it. Peaks are of the run so far.
    """

    def __init__(self) -> None:
        self._peak_memory = 0.0
        self._begin = 0.0
        self._end = 0.0
        self._epoch_seconds = 0.0
        self._paused = 0.0
        self._pause_begin = 0.0
        self._samples = 0

    def state_dict(self) -> dict[str, Any]:
        """Seconds of the last epoch, for the test of a checkpoint; 0 before the first."""
        so_far = time.perf_counter() - self._begin if self._begin else 0.0
        return {"epoch_seconds": self._epoch_seconds or so_far}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take them over."""
        self._epoch_seconds = state_dict["epoch_seconds"]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the peaks of earlier runs in this process."""
        self._reset_peaks(pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._start_clock(pl_module)

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: torch.Tensor) -> None:
        """Read the memory while all activations are there."""
        self._read_memory()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401 (Lightning's own type)
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Count the samples, and take the time."""
        self._samples += len(batch["index"])
        # Only the last batch of an epoch waits for the GPU.
        self._end = _now(pl_module) if trainer.is_last_batch else time.perf_counter()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock of the training."""
        self._pause_begin = _now(pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let the clock of the training go on."""
        self._end = _now(pl_module)
        self._paused += self._end - self._pause_begin

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the epoch."""
        seconds = self._epoch_seconds = (self._end or _now(pl_module)) - self._begin
        pl_module.log("efficiency/epoch_seconds", seconds, reduce_fx="max", sync_dist=True)
        self._log_rate(pl_module, "efficiency/samples_per_second", seconds - self._paused)
        self._log_size(pl_module)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the peaks of earlier runs in this process."""
        self._reset_peaks(pl_module)

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._start_clock(pl_module)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401 (Lightning's own type)
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count the samples, and read the memory."""
        self._samples += len(batch["index"])
        self._read_memory()

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the test."""
        if self._epoch_seconds:
            pl_module.log("efficiency/epoch_seconds", self._epoch_seconds, reduce_fx="max", sync_dist=True)
        self._log_rate(pl_module, "efficiency/test_samples_per_second", _now(pl_module) - self._begin)
        self._log_size(pl_module)

    def _reset_peaks(self, pl_module: LightningModule) -> None:
        self._peak_memory = 0.0
        if pl_module.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(pl_module.device)

    def _start_clock(self, pl_module: LightningModule) -> None:
        self._samples = 0
        self._paused = 0.0
        self._end = 0.0
        self._begin = _now(pl_module)

    def _read_memory(self) -> None:
        memory = _process(os.getpid()).memory_info()
        own = memory.rss - getattr(memory, "shared", 0)  # macOS and Windows do not tell what is shared
        self._peak_memory = max(self._peak_memory, own / MB)

    def _log_rate(self, pl_module: LightningModule, name: str, seconds: float) -> None:
        pl_module.log(name, self._samples / seconds, reduce_fx="sum", sync_dist=True)

    def _log_size(self, pl_module: LightningModule) -> None:
        # float32 is not exact above 2^24 parameters, and MPS has nothing wider
        dtype = torch.float32 if pl_module.device.type == "mps" else torch.float64
        total = sum(p.numel() for p in pl_module.parameters())
        trainable = sum(p.numel() for p in pl_module.parameters() if p.requires_grad)
        for name, count in {"parameters": total, "trainable_parameters": trainable}.items():
            value = torch.tensor(count, dtype=dtype, device=pl_module.device)
            pl_module.log(f"efficiency/{name}", value, sync_dist=True)
        pl_module.log("efficiency/peak_host_memory_mb", self._peak_memory, reduce_fx="max", sync_dist=True)
        if pl_module.device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(pl_module.device) / MB
            pl_module.log("efficiency/peak_gpu_memory_mb", peak, reduce_fx="max", sync_dist=True)


@cache
def _process(pid: int) -> psutil.Process:
    return psutil.Process(pid)  # its making costs more than a reading; held by no callback, as it cannot be pickled


def _now(pl_module: LightningModule) -> float:
    if pl_module.device.type == "cuda":
        torch.cuda.synchronize(pl_module.device)
    return time.perf_counter()
