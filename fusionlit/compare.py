"""Every strategy on the same frozen splits."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from fusionlit.build import FusionCLI, command_line
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
        trainer: Trainer file; default: Lightning's defaults.
        out: Folder for the runs and the rows; must not hold rows yet.

    Raises:
        ConfigError: If a file is missing, two models have one name, or `out` has rows already.
    """
    check_files([data, *models, *([trainer] if trainer else [])])
    names = [model.stem for model in models]
    if len(set(names)) < len(names):
        raise ConfigError(f"Expected model files with different names, but got {names}.")
    file = out / "rows.jsonl"
    if file.exists():
        raise ConfigError(
            f"Expected `out` to have no rows yet, but {file} is there: choose another folder or remove it."
        )
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for seed in range(seeds):
        for model in models:
            row = run(data, model, seed, trainer, out)
            rows.append(row)
            with file.open("a") as lines:
                lines.write(json.dumps(row) + "\n")
    Console().print(table(rows))
    return rows


def run(data: Path, model: Path, seed: int, trainer: Path | None, out: Path) -> Row:
    """Train one model with one seed, test its best checkpoint, and return the figures."""
    args = ["fit", f"--data={data}", f"--model={model}", f"--seed_everything={seed}"]
    args += [f"--trainer={trainer}"] if trainer else []
    args += ["--trainer.logger=lightning.pytorch.loggers.TensorBoardLogger", f"--trainer.logger.save_dir={out}"]
    args += [f"--trainer.logger.name={model.stem}", f"--trainer.logger.version=seed{seed}"]
    with command_line(args):
        cli = FusionCLI()
    trained = {name: value.item() for name, value in cli.trainer.callback_metrics.items() if "epoch_seconds" in name}
    tested = cli.trainer.test(cli.model, datamodule=cli.datamodule, ckpt_path="best", verbose=False)[0]
    return {"model": model.stem, "seed": seed, **trained, **tested}


def table(rows: Sequence[Row]) -> Table:
    """Mean and standard deviation over the seeds of every figure that all rows have, a row a model."""
    columns = [key for key in rows[0] if key not in ("model", "seed") and all(key in row for row in rows)]
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
