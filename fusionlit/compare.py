"""Every strategy on the same frozen splits."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from rich.console import Console
from rich.table import Table

from fusionlit.build import FusionCLI, command_line
from fusionlit.callbacks import BestCheckpoint
from fusionlit.errors import ConfigError

Row = dict[str, Any]


def compare(
    data: Path, models: Sequence[Path], seeds: int = 1, trainer: Path | None = None, out: Path = Path("runs/compare")
) -> list[Row]:
    """Train every model on the same frozen splits, test its best checkpoint, and print one table.

    The splits belong to the data file and do not change with the seed. The checkpoint is chosen by the validation
    loss; the test split is looked at once a run. Every run is written to `out/<model>/seed<seed>`, and its figures as
    one line of `out/rows.jsonl`.

    Args:
        data: Data file, such as configs/data/replicator_shape.yaml.
        models: Model files; each is called by its file's name.
        seeds: Number of seeds, 0 to seeds - 1, that every model is trained with.
        trainer: Trainer file; default: 20 epochs, and Lightning's other defaults.
        out: Folder for the runs and the rows; must not hold rows yet.

    Raises:
        ConfigError: If a file is missing, two models have one name, `out` has rows already, or the trainer runs several
            processes.
    """
    check_files([data, *models, *([trainer] if trainer else [])])
    names = [model.stem for model in models]
    if len(set(names)) < len(names):
        raise ConfigError(f"Expected model files with different names, but got {names}.")
    if seeds < 1:
        raise ConfigError(f"Expected `seeds` to be at least 1, but got {seeds}.")
    file = out / "rows.jsonl"
    if file.exists():
        raise ConfigError(
            f"Expected `out` to have no rows yet, but {file} is there: choose another folder or remove it."
        )
    for model in models:  # a mistake in the last file shows before the first is trained
        build(data, model, 0, trainer, out)
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for seed in range(seeds):
        for model in models:
            cli = build(data, model, seed, trainer, out)
            cli.trainer.fit(cli.model, cli.datamodule)
            best = cast(BestCheckpoint, cli.trainer.checkpoint_callback).best_model_path
            metrics = cli.trainer.test(cli.model, cli.datamodule, ckpt_path=best, verbose=False)[0]
            rows.append({"model": model.stem, "seed": seed, **metrics})
            with file.open("a") as lines:
                lines.write(json.dumps(rows[-1]) + "\n")
    console = Console()
    console.print(table(rows), width=None if console.is_terminal else 200)
    return rows


def build(data: Path, model: Path, seed: int, trainer: Path | None, out: Path) -> FusionCLI:
    """Data module, model and trainer of one run.

    Raises:
        ConfigError: If the trainer runs several processes, each of which would start the comparison again.
    """
    args = [f"--data={data}", f"--model={model}", f"--seed_everything={seed}"]
    args += [f"--trainer={trainer}"] if trainer else []
    args += ["--trainer.logger=lightning.pytorch.loggers.TensorBoardLogger", f"--trainer.logger.save_dir={out}"]
    args += [f"--trainer.logger.name={model.stem}", f"--trainer.logger.version=seed{seed}"]
    with command_line(args):
        cli = FusionCLI(run=False)
    if cli.trainer.world_size > 1:
        raise ConfigError(f"Expected one process to compare in, but {trainer} asks for {cli.trainer.world_size}.")
    return cli


def table(rows: Sequence[Row]) -> Table:
    """Mean and standard deviation over the seeds of the figures that all rows have, a row a model."""
    left_out = ("model", "seed", "efficiency/trainable_parameters", "efficiency/peak_host_memory_mb")
    columns = [key for key in rows[0] if key not in left_out and all(key in row for row in rows)]
    view = Table(title=f"Test split, best checkpoint by validation loss, {len({r['seed'] for r in rows})} seed(s)")
    view.add_column("model")
    for column in columns:
        view.add_column(column.removeprefix("test/").removeprefix("efficiency/"), justify="right")
    for model in dict.fromkeys(row["model"] for row in rows):
        values = torch.tensor([[row[column] for column in columns] for row in rows if row["model"] == model])
        spread = values.std(0) if len(values) > 1 else None
        cells = [f"{m:.4g}" + ("" if spread is None else f" ± {spread[i]:.2g}") for i, m in enumerate(values.mean(0))]
        view.add_row(model, *cells)
    return view


def check_files(files: Sequence[Path]) -> None:
    """Refuse missing files before anything is trained.

    Raises:
        ConfigError: If one is missing.
    """
    missing = [str(file) for file in files if not file.is_file()]
    if missing:
        raise ConfigError(f"Expected configuration files, but there are none at {missing}.")
