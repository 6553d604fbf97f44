"""Measures the cost of a run."""

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

    - `efficiency/parameters`, `efficiency/trainable_parameters`: number of scalars.
    - `efficiency/epoch_seconds`: wall-clock time of a training epoch with its validation, of the slowest process (s),
      without later work of callbacks, such as drawing. In a test: that of the training run of the checkpoint (its last
      complete epoch, or the time so far in its first).
    - `efficiency/samples_per_second`: training samples of all processes, divided by the time without validation (1/s).
    - `efficiency/test_samples_per_second`: the same for a test, including data loading (1/s).
    - `efficiency/peak_host_memory_mb`: maximum private memory of a process (resident set without shared pages, since
      memory-mapped files fill these arbitrarily), 10^6 bytes; read after each forward pass, while the activations are
      in memory; worker processes are not counted.
    - `efficiency/peak_gpu_memory_mb`: maximum memory allocated for tensors on one GPU, 10^6 bytes; only with CUDA.

    The GPU is synchronised before times are taken. Peaks are those of the run so far.
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
        """Seconds of the last epoch, for a test of the checkpoint; 0 before the first."""
        so_far = time.perf_counter() - self._begin if self._begin else 0.0
        return {"epoch_seconds": self._epoch_seconds or so_far}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore them."""
        self._epoch_seconds = state_dict["epoch_seconds"]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reset the peaks of earlier runs in this process."""
        self._reset_peaks(pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._start_clock(pl_module)

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: torch.Tensor) -> None:
        """Read the memory while all activations are in memory."""
        self._read_memory()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401 (Lightning's own type)
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Count the samples and record the time."""
        self._samples += len(batch["index"])
        # Only the last batch of an epoch synchronises the GPU.
        self._end = _now(pl_module) if trainer.is_last_batch else time.perf_counter()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Pause the training clock."""
        self._pause_begin = _now(pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Resume the training clock."""
        self._end = _now(pl_module)
        self._paused += self._end - self._pause_begin

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the epoch."""
        seconds = self._epoch_seconds = (self._end or _now(pl_module)) - self._begin
        pl_module.log("efficiency/epoch_seconds", seconds, reduce_fx="max", sync_dist=True)
        self._log_rate(pl_module, "efficiency/samples_per_second", seconds - self._paused)
        self._log_size(pl_module)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reset the peaks of earlier runs in this process."""
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
        """Count the samples and read the memory."""
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
        own = memory.rss - getattr(memory, "shared", 0)  # macOS and Windows do not report shared memory
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
    return psutil.Process(
        pid
    )  # creating it is slower than reading; not an attribute of the callback, since it cannot be pickled


def _now(pl_module: LightningModule) -> float:
    if pl_module.device.type == "cuda":
        torch.cuda.synchronize(pl_module.device)
    return time.perf_counter()
