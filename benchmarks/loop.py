"""Cost of Lightning's loop and of our callbacks per training step: `python benchmarks/loop.py`.

An epoch of `Trainer.fit` on the demo, with everything that `fusionlit fit` adds except validation, checkpoints and the
figure, is compared with a bare loop that computes the same from the same batches, alternating in one run. The ratio
is within the noise of a busy machine; therefore the cost is also measured in milliseconds, part by part, on a
tiny network, where it dominates; and the time spent in FusionWeightLogger separately. Rows go to
benchmarks/results/loop.jsonl.
"""

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from lightning import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import ProgressBar, RichProgressBar, TQDMProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from side_by_side import alternate, ratio, record, seconds
from training import EpochTime, our_step, to_device

from fusionlit import build_run
from fusionlit.callbacks import EfficiencyMonitor, FusionWeightLogger
from fusionlit.cli.trainer import REFRESH_RATE
from fusionlit.console import quiet_lightning
from fusionlit.data import ArrayDataModule, FractionSplit, FusionDataModule
from fusionlit.encoders import MLPEncoder
from fusionlit.models import CentralNet, FusionModule
from fusionlit.synthetic import render

ROUNDS, FRAMES = 7, 400
CONFIGS = Path(__file__).parents[1] / "configs"


class TimedLogger(FusionWeightLogger):
    """Measures the seconds that the logger takes after the batches, without figures."""

    inside, calls = 0.0, 0

    def on_train_batch_end(self, *args: Any) -> None:  # noqa: ANN401
        """Log, and measure the time."""
        begin = time.perf_counter()
        super().on_train_batch_end(*args)
        TimedLogger.inside += time.perf_counter() - begin
        TimedLogger.calls += 1


def demo(root: Path) -> tuple[FusionModule, FusionDataModule]:
    """The model and the data of `make demo`."""
    data, model = CONFIGS / "data/replicator_shape.yaml", CONFIGS / "model/centralnet.yaml"
    run = build_run(data, model, {"accelerator": "cpu"}, overrides={"data.root": root})
    return run.model, run.datamodule


def epoch(model: FusionModule, data: FusionDataModule, parts: list[Callback], bar: ProgressBar | None) -> float:
    """Seconds for the batches of an epoch with Lightning."""
    clock = EpochTime()
    with quiet_lightning(), tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            max_epochs=1,
            limit_val_batches=0,
            num_sanity_val_steps=0,
            log_every_n_steps=10,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=bar is not None,
            logger=TensorBoardLogger(folder),
            callbacks=[*parts, clock, *([bar] if bar else [])],
            accelerator="cpu",
        )
        trainer.fit(model, datamodule=data)
    return clock.seconds


def by_hand(model: FusionModule, data: FusionDataModule) -> Callable[[], float]:
    """Seconds for the same epoch with a bare loop."""
    step = our_step(model.train())

    def run() -> None:
        data.trainer = None
        for batch in data.train_dataloader():
            step(to_device(data.convert(batch)))

    return lambda: seconds(run)


def tiny(folder: Path) -> tuple[FusionModule, FusionDataModule]:
    """A tiny network, and as many batches as the demo has in ten epochs."""
    rng = np.random.default_rng(0)
    values = {name: rng.normal(size=(180 * 32, 4)).astype(np.float32) for name in ("rgb", "lidar")}
    if not (folder / "tiny.npz").exists():
        np.savez(folder / "tiny.npz", **values, target=rng.integers(0, 2, 180 * 32))
    data = ArrayDataModule(folder / "tiny.npz", split=FractionSplit(1, 0, 0))
    encoder = partial(MLPEncoder, widths=(8, 8, 8))
    return CentralNet(data.modalities, data.target, encoder, normalize=False), data


def ways(model: FusionModule, bare: FusionModule, data: FusionDataModule) -> dict[str, Callable[[], float]]:
    """The bare loop, all of `fusionlit fit`, and variants with one part added or removed."""
    timed, costs = TimedLogger(figure=False), EfficiencyMonitor()
    return {
        "bare": by_hand(bare, data),
        "fit": lambda: epoch(model, data, [timed, costs], TQDMProgressBar(refresh_rate=REFRESH_RATE)),
        "without FusionWeightLogger": lambda: epoch(model, data, [costs], TQDMProgressBar(refresh_rate=REFRESH_RATE)),
        "without EfficiencyMonitor": lambda: epoch(model, data, [timed], TQDMProgressBar(refresh_rate=REFRESH_RATE)),
        "without bar": lambda: epoch(model, data, [timed, costs], None),
        "with Lightning's bar": lambda: epoch(model, data, [timed, costs], RichProgressBar()),
    }


def main() -> None:
    """Run all measurements."""
    seed_everything(0, verbose=False)
    with tempfile.TemporaryDirectory() as folder:
        render(Path(folder) / "frames", FRAMES)
        for name, make in {"demo": partial(demo, Path(folder) / "frames"), "tiny": partial(tiny, Path(folder))}.items():
            TimedLogger.inside, TimedLogger.calls = 0.0, 0
            (model, data), (bare, _) = make(), make()
            data.setup("fit")
            batches = len(data.train_dataloader())
            found = alternate(ways(model, bare, data), ROUNDS)
            median_ms = {way: round(1000 * median(values) / batches, 3) for way, values in found.items()}
            least_ms = {way: round(1000 * min(values) / batches, 3) for way, values in found.items()}
            row = {"what": f"fit / bare loop, {name}", "ratio": ratio(found["fit"], found["bare"])}
            row |= {"median_ms": median_ms, "least_ms": least_ms}
            row["inside_FusionWeightLogger_ms"] = round(1000 * TimedLogger.inside / TimedLogger.calls, 4)
            record("loop", row)


if __name__ == "__main__":
    main()
