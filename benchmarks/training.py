"""Training time compared with the notebooks' implementation of the same model on the same files: ratios of times.

    python benchmarks/training.py          everything below; part of `make bench`
    python benchmarks/training.py losses   only the check that both have the same losses over twenty steps
    python benchmarks/training.py seeds    final losses of both over three seeds, position net, six epochs

Both alternate in one run. `end to end`: the batches of an epoch, from files to losses; ours uses Lightning's loop with
FusionWeightLogger, EfficiencyMonitor and TensorBoard, as in `fusionlit fit`, but without validation, checkpoints,
figure and progress bar.

`step`: a batch in memory, from forward to optimizer. The losses are checked before timing. On a GPU,
an epoch of the shape net over 4,800 frames is also timed in every precision and compilation mode. Rows go to
benchmarks/results/training.jsonl.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import notebook
import torch
from lightning import Callback, Trainer, seed_everything
from lightning.pytorch.loggers import TensorBoardLogger
from side_by_side import DEVICE, alternate, ratio, record, seconds, wait
from torch import Tensor, nn
from torch.utils.data import DataLoader

from fusionlit.callbacks import EfficiencyMonitor, FusionWeightLogger
from fusionlit.console import quiet_lightning
from fusionlit.data import FractionSplit, ReplicatorDataModule
from fusionlit.encoders import ConvEncoder, MLPHead
from fusionlit.fusion import Concat
from fusionlit.models import CentralNet, FusionModule, IntermediateFusion, TrainingConfig
from fusionlit.synthetic import render
from fusionlit.types import Modalities, TargetSpec, shapes_of

ROUNDS, STEPS, BATCH = 5, 20, 32
ADAM = partial(torch.optim.Adam, lr=1e-4)
Net = tuple[nn.Module, FusionModule]


class EpochTime(Callback):
    """Seconds from the first batch of the last epoch to the end of its last."""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:  # noqa: ANN401
        """Start the clock."""
        wait()
        self.begin = time.perf_counter()

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:  # noqa: ANN401
        """Stop the clock."""
        if trainer.is_last_batch:
            wait()
            self.seconds = time.perf_counter() - self.begin


def concat(data: ReplicatorDataModule, training: TrainingConfig | None = None) -> Net:
    """The notebooks' concat nets, for positions or for shapes."""
    widths, hidden = ((25, 50, 100), (1000, 100)) if data.task == "position" else ((50, 100, 200), (512, 128))
    model = IntermediateFusion(
        data.modalities,
        data.target,
        partial(ConvEncoder, widths=widths),
        fusion=Concat,
        head=partial(MLPHead, hidden=hidden),
        training=training or TrainingConfig(ADAM),
        normalize=False,
    )
    return notebook.ConcatNet(widths, hidden, data.target.size), model


def central(
    modalities: Modalities,
    target: TargetSpec,
    paper: bool,
    kernel: int = 3,
    dense: int = 0,
    hidden: int = 64,
    compile_mode: Any = None,  # noqa: ANN401
) -> Net:
    """CentralNet with widths 16, 32, 64, which fuses predictions as in the paper."""
    shape = next(iter(shapes_of(modalities).values()))
    signals = len(shape) == 2
    model = CentralNet(
        modalities,
        target,
        partial(ConvEncoder, widths=(16, 32, 64), kernel_size=kernel, norm="batch", dense=(dense,) if dense else ()),
        head=partial(MLPHead, hidden=(hidden,) if hidden else ()),
        weights="raw" if paper else "softmax",
        source_norm=not paper,
        fuse_predictions=True,
        training=TrainingConfig(compile_mode=compile_mode),
        normalize=False,
    )
    net = notebook.CentralNet(
        shape, len(modalities), (16, 32, 64), kernel, dense, hidden, target.size, fuse_inputs=signals, paper=paper
    )
    return net, model


def prepare(pair: Net) -> tuple[nn.Module, torch.optim.Optimizer]:
    """The notebook's network with the model's weights, on the device, and its optimizer."""
    net, model = pair
    notebook.take_weights(net, model)
    net.to(DEVICE)
    if not isinstance(net, notebook.CentralNet):
        return net, ADAM(net.parameters())
    rest = [p for name, p in net.named_parameters() if not name.startswith("weights.")]
    return net, torch.optim.Adam([{"params": rest}, {"params": list(net.weights), "lr": 0.03}])


def our_step(model: FusionModule) -> Callable[[dict[str, Any]], Tensor]:
    """One step on a converted batch, without a trainer."""
    model.to(DEVICE)
    optimizer = model.configure_optimizers()
    mode = model.training_setup.compile_mode
    torch.compiler.reset()  # after some models of one class, torch would go on without compiling
    network = torch.compile(model.__call__, mode=mode) if mode else model

    def step(batch: dict[str, Any]) -> Tensor:
        optimizer.zero_grad()
        loss, _ = model.multitask_loss(network(batch["inputs"]), batch)  # type: ignore[arg-type]
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def check_losses(name: str, make: Callable[[], Net], loss: nn.Module, batches: Iterable[dict[str, Any]]) -> None:
    """Add a row with the largest relative difference of the losses over `STEPS` steps on the same batches.

    In float64 it shows whether both compute the same. In float32 the order of sums differs, and Adam takes full steps
    on gradients that consist only of rounding errors.

    Raises:
        AssertionError: If they differ in float64.
    """
    listed = list(islice(cycle(batches), STEPS))
    gaps = {}
    for dtype in (torch.float64, torch.float32):
        net, model = (each.to(DEVICE, dtype) for each in make())
        given = [to_device(batch, dtype) for batch in listed]
        _, optimizer = prepare((net, model))
        theirs = notebook.train(net, optimizer, loss, [(list(b["inputs"].values()), b["target"]) for b in given])
        step = our_step(model)
        ours = [step(batch).item() for batch in given]
        gaps[str(dtype).removeprefix("torch.")] = max(abs(a - b) / b for a, b in zip(ours, theirs, strict=True))
    record("training", {"what": f"losses, {name}", "gap": gaps})
    assert gaps["float64"] < 1e-9, gaps


def to_device(batch: dict[str, Any], dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    """Inputs and target on the model's device."""
    target = batch["target"].to(DEVICE)
    return {
        "inputs": {name: x.to(DEVICE, dtype) for name, x in batch["inputs"].items()},
        "target": target.to(dtype) if target.is_floating_point() else target,
    }


def our_epochs(model: FusionModule, data: ReplicatorDataModule, epochs: int = 1, **options: Any) -> tuple[float, float]:  # noqa: ANN401
    """Seconds of the last epoch, and the mean loss of its batches, trained as with `fusionlit fit`."""
    clock, losses = EpochTime(), []
    data.trainer = None
    with quiet_lightning(), tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            max_epochs=epochs,
            limit_val_batches=0,
            num_sanity_val_steps=0,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
            logger=TensorBoardLogger(folder),
            callbacks=[clock, Losses(losses), FusionWeightLogger(figure=False), EfficiencyMonitor()],
            accelerator="gpu" if DEVICE.type == "cuda" else "cpu",
            devices=1,
            **options,
        )
        trainer.fit(model, datamodule=data)
    return clock.seconds, torch.stack(losses[-trainer.num_training_batches :]).mean().item()  # type: ignore[call-overload]


class Losses(Callback):
    """Collects the loss of every batch on the device."""

    def __init__(self, losses: list[Tensor]) -> None:
        self.losses = losses

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, *_: Any) -> None:  # noqa: ANN401
        """Append the loss."""
        self.losses.append(outputs["loss"])


def end_to_end(name: str, data: ReplicatorDataModule, make: Callable[[], Net], loss: nn.Module, times: bool) -> None:
    """Check the losses; then, if requested, time an epoch of both alternately, and add a row."""
    data.setup("fit")
    seed_everything(0, verbose=False)
    rows = data.dataset("train").rows.tolist()
    frames = notebook.Frames(data._folders, data.dataset("train").targets, rows)
    loader = DataLoader(frames, BATCH, shuffle=True)
    check_losses(name, make, loss, islice((data.convert(batch) for batch in data.train_dataloader()), STEPS))
    if not times:
        return
    net, optimizer = prepare(make())
    model = make()[1]
    found = alternate(
        {
            "notebook": lambda: seconds(lambda: notebook.train(net, optimizer, loss, named(loader))),
            "fusionlit": lambda: our_epochs(model, data)[0],
        },
        ROUNDS,
    )
    rates = {way: round(len(rows) / min(values), 1) for way, values in found.items()}
    found_ratio = ratio(found["notebook"], found["fusionlit"])
    record("training", {"what": f"end to end, {name}", "ratio": found_ratio, "best_per_second": rates})


def named(loader: DataLoader) -> Iterator[tuple[list[Tensor], Tensor]]:
    """Batches in the form of the manual loop."""
    for rgb, lidar, target in loader:
        yield [rgb, lidar], target


def step(
    modalities: int,
    channels: int,
    length: int,
    paper: bool,
    times: bool,
    compile_mode: Any = None,  # noqa: ANN401
) -> None:
    """Check the losses of CentralNet on signals; then, if requested, time a step of both alternately, and add a row."""
    seed_everything(0, verbose=False)
    shapes = {f"s{i}": (channels, length) for i in range(modalities)}
    make = partial(central, shapes, TargetSpec("multiclass", 6), paper, 5, 128, 0, compile_mode)
    batches = [
        {"inputs": {k: torch.randn(64, *s) for k, s in shapes.items()}, "target": torch.randint(0, 6, (64,))}
        for _ in range(4)
    ]
    loss = nn.CrossEntropyLoss()
    form = "paper's sum" if paper else "default"
    name = f"CentralNet on {modalities} signals of {channels} x {length}, {form}, compiled: {compile_mode}"
    check_losses(name, make, loss, batches)
    if not times:
        return
    net, optimizer = prepare(make())
    ours, batch = our_step(make()[1]), to_device(batches[0])
    inputs = list(batch["inputs"].values())
    found = alternate(
        {
            "notebook": lambda: seconds(lambda: notebook.train(net, optimizer, loss, [(inputs, batch["target"])]), 5),
            "fusionlit": lambda: seconds(lambda: ours(batch), 5),
        },
        3 * ROUNDS,
    )
    best = {way: round(1000 * min(values), 2) for way, values in found.items()}
    found_ratio = ratio(found["notebook"], found["fusionlit"])
    record("training", {"what": f"step, {name}", "ratio": found_ratio, "best_ms": best})


def seeds(data: ReplicatorDataModule, epochs: int = 6) -> None:
    """Loss of the last epoch of both, for three seeds."""
    data.setup("fit")
    rows = data.dataset("train").rows.tolist()
    loader = DataLoader(notebook.Frames(data._folders, data.dataset("train").targets, rows), BATCH, shuffle=True)
    final: dict[str, list[float]] = {"notebook": [], "fusionlit": []}
    for seed in range(3):
        seed_everything(seed, verbose=False)
        pair = concat(data)
        net, optimizer = prepare(pair)
        for _ in range(epochs):
            losses = notebook.train(net, optimizer, nn.MSELoss(), named(loader))
        final["notebook"].append(sum(losses) / len(losses))
        final["fusionlit"].append(our_epochs(pair[1], data, epochs)[1])
    record("training", {"what": f"loss of epoch {epochs}, concat position net, seeds 0 to 2", **final})


def gpu(data: ReplicatorDataModule) -> None:
    """Seconds and memory of an epoch of the concat shape net in every precision and mode, and of the notebooks'."""
    data.setup("fit")
    rows = data.dataset("train").rows.tolist()
    frames = notebook.Frames(data._folders, data.dataset("train").targets, rows)
    net, optimizer = prepare(concat(data))
    loader = DataLoader(frames, BATCH, shuffle=True)
    theirs = min(
        seconds(lambda: notebook.train(net, optimizer, nn.CrossEntropyLoss(), named(loader))) for _ in range(2)
    )
    for cached in (False, True):
        data.cache_on_device = cached
        for precision in ("32-true", "bf16-mixed", "16-mixed"):
            for mode in (None, "default", "reduce-overhead"):
                torch.cuda.reset_peak_memory_stats()
                ours, _ = our_epochs(
                    concat(data, TrainingConfig(ADAM, compile_mode=mode))[1], data, 3, precision=precision
                )
                what = f"epoch, concat shape net, {len(rows)} frames, {precision}, compiled: {mode}, cached: {cached}"
                memory = torch.cuda.max_memory_allocated() / 1e6
                record("training", {"what": what, "seconds": ours, "notebook_seconds": theirs, "peak_mb": memory})


def main(what: str) -> None:
    """Render the frames, then measure."""
    with tempfile.TemporaryDirectory() as folder:
        positions, shapes = Path(folder) / "positions", Path(folder) / "shapes"
        render(positions, 680, task="position")
        data = partial(ReplicatorDataModule, split=FractionSplit(1, 0, 0), orientation="raw", batch_size=BATCH)
        if what == "seeds":
            seeds(data(positions, "position"))
            return
        times, position, loss = what != "losses", data(positions, "position"), nn.MSELoss()
        end_to_end("concat position net", position, lambda: concat(position), loss, times)
        render(shapes, 2400 if DEVICE.type == "cuda" else 340)
        shape = data(shapes, "shape")
        make = partial(central, shape.modalities, shape.target, paper=False)
        end_to_end("CentralNet 2D", shape, make, nn.CrossEntropyLoss(), times)
        for modalities, channels in ((3, 3), (9, 1)):
            for length in (128, 1024):
                for paper in (True, False):
                    step(modalities, channels, length, paper, times)
        step(3, 3, 128, False, times, "default")
        if DEVICE.type == "cuda":
            step(3, 3, 128, False, times, "reduce-overhead")
            gpu(shape)


if __name__ == "__main__":
    if sys.argv[1:] not in ([], ["losses"], ["seeds"]):
        sys.exit(__doc__)
    main(*sys.argv[1:] or [""])
