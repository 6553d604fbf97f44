"""Read and show the fusion weights of a run."""

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.table import Table
from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator

from fusionlit.analysis.plots import plot_trajectories
from fusionlit.analysis.trajectories import Lines, Trajectories
from fusionlit.errors import ConfigError, DataError

CHECKPOINTS = "*.ckpt"
EVENTS = "events.out.tfevents.*"
FIGURES = (".png", ".svg", ".pdf")


def weights(run: Path, output: Path | None = None) -> None:
    """Print the fusion weights and contributions of a run over training, and save their figure.

    Args:
        run: Folder of a run, or a parent folder of several; then the newest run is used. The weights are read from the
            run's checkpoints or, if they have none, from its TensorBoard event files.
        output: Figure file (.png, .svg or .pdf); default: `fusion_weights.png` in the run's folder.

    Raises:
        ConfigError: If `output` has another suffix, or its folder does not exist.
        DataError: If `run` contains no fusion weights.
    """
    if output is not None and output.suffix.lower() not in FIGURES:
        raise ConfigError(f"Expected `output` to end in {', '.join(FIGURES)}, but got {str(output)!r}.")
    if output is not None and not output.parent.is_dir():
        raise ConfigError(f"Expected the folder of `output` to exist, but {output.parent} does not. Create it first.")
    folder, trajectories = find_run(run)
    console = Console()
    if folder != run:
        console.print(f"{folder} is the newest run with fusion weights in {run}.", soft_wrap=True, markup=False)
    console.print(weights_table(trajectories))
    output = output or folder / "fusion_weights.png"
    plot_trajectories(trajectories).savefig(output)
    console.print(f"The figure is in {output}", soft_wrap=True, markup=False)


def find_run(run: Path) -> tuple[Path, Trajectories]:
    """The run in the folder `run` or, if it contains none itself, the newest run below it; with its trajectories.

    Raises:
        DataError: If the folder does not exist, or contains no run or no fusion weights.
    """
    if not run.is_dir():
        raise DataError(
            f"Expected the folder of a run, but {run} is not a folder. Runs are in the trainer's default_root_dir."
        )
    files = sorted([*run.rglob(CHECKPOINTS), *run.rglob(EVENTS)], key=lambda file: file.stat().st_mtime, reverse=True)
    folders = list(dict.fromkeys(_run_of(file) for file in files))
    if not folders:
        raise DataError(
            f"Expected checkpoints ({CHECKPOINTS}) or TensorBoard event files ({EVENTS}) in {run} or below, but found"
            " none: train with checkpoints or a TensorBoardLogger."
        )
    for folder in [run] if run in folders else folders:
        trajectories = read_trajectories(folder)
        if trajectories.fusion_weights:
            return folder, trajectories
    raise DataError(
        f"Expected fusion weights in the checkpoints or event files of {run}, but found none: the model has no"
        " fusion weights, or it was trained without the callback FusionWeightLogger."
    )


def read_trajectories(folder: Path) -> Trajectories:
    """Trajectories from the run's checkpoint with the most steps or, without any, from its event files."""
    files = [*folder.glob(CHECKPOINTS), *folder.glob(f"checkpoints/{CHECKPOINTS}")]
    saved = [_read_checkpoint(file) for file in sorted(files, key=lambda file: file.stat().st_mtime)]
    longest = max((each for each in saved if each.fusion_weights), key=lambda each: each.last_step, default=None)
    return longest or read_events(folder)


def read_events(folder: Path) -> Trajectories:
    """Trajectories from all event files in a folder, in the order of their start.

    A file whose weights start at step s belongs to a run resumed there: it replaces the points of older files after s
    or, if s is 0, all of them.
    """
    merged = Trajectories()
    for _, part in sorted((_read_file(file) for file in folder.glob(EVENTS)), key=lambda x: x[0]):
        if part.fusion_weights and part.first_step == 0:
            merged = Trajectories()  # a new run in the same folder, or a resumed one that logs its past again
        elif part.fusion_weights:
            merged.drop_after(part.first_step)
        merged.update(part)
    return merged


def weights_table(trajectories: Trajectories) -> Table:
    """Table of each source's initial, lowest, highest and final weight, and its last contribution and attribution."""
    table = Table(
        title="Fusion weights", title_justify="left", box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False
    )
    table.add_column("layer")
    table.add_column("source")
    for column in ("initial", "lowest", "highest", "final", "contribution", "attribution"):
        table.add_column(column, justify="right")
    for layer, sources in trajectories.fusion_weights.items():
        for i, (source, points) in enumerate(sources.items()):
            numbers = (points[min(points)], min(points.values()), max(points.values()), points[max(points)])
            table.add_row(
                layer if i == 0 else "",
                source,
                *(f"{number:.3f}" for number in numbers),
                _last(trajectories.contributions, layer, source),
                _last(trajectories.attributions, layer, source),
            )
        table.add_section()
    return table


def _last(lines: Lines, layer: str, source: str) -> str:
    points = lines.get(layer, {}).get(source)
    return f"{points[max(points)]:.3f}" if points else "-"


def _run_of(file: Path) -> Path:
    """Folder of the run that a file belongs to."""
    return file.parents[1] if file.parent.name == "checkpoints" else file.parent


def _read_checkpoint(file: Path) -> Trajectories:
    try:
        saved = torch.load(file, weights_only=True, map_location="cpu", mmap=True)
    except (RuntimeError, UnpicklingError, EOFError):
        return Trajectories()  # written by another program, or truncated
    states = saved.get("callbacks") if isinstance(saved, dict) else None
    of_callbacks = states.items() if isinstance(states, dict) else ()
    state: dict[str, Any] = next((state for key, state in of_callbacks if key.startswith("FusionWeightLogger")), {})
    try:
        return Trajectories(**state)
    except TypeError:
        return Trajectories()  # written by another version


def _read_file(file: Path) -> tuple[float, Trajectories]:
    events = EventAccumulator(str(file), size_guidance={SCALARS: 0})  # 0 keeps every point
    events.Reload()
    trajectories = Trajectories()
    for tag in events.Tags()[SCALARS]:
        for event in events.Scalars(tag):
            trajectories.add(event.step, {tag: event.value})
    return events.FirstEventTimestamp(), trajectories
