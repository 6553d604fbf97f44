"""Every strategy on the same frozen splits."""

import difflib
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from rich.console import Console
from rich.table import Table

from fusionlit.build import FusionCLI
from fusionlit.callbacks import BestCheckpoint
from fusionlit.console import quiet_lightning
from fusionlit.errors import ConfigError, DataError

Row = dict[str, Any]
Config = dict[str, Any]
"""What a data file holds, as a dict."""


def compare(
    data: Path | Config,
    models: Sequence[Path],
    seeds: int = 1,
    trainer: Path | None = None,
    out: Path = Path("runs/compare"),
) -> list[Row]:
    """Train every model on the same frozen splits, test its best checkpoint, and print one table.

    The splits belong to the data file and do not change with the seed. The checkpoint is chosen by the main metric of
    validation; the test split is looked at once a run. Every run is written to `out/<model>/seed<seed>`, and its
    figures as one line of `out/rows.jsonl`. The same command goes on with a comparison that was interrupted: what has a
    row is not run again, a run that was cut off begins anew. Several processes may share `out` if their models differ.

    Args:
        data: Data file, such as configs/data/replicator_shape.yaml, or what it holds; any argument in it can be given
            beside it, as in `fusionlit fit`: `--data.root FOLDER`.
        models: Model files; each is called by its file's name.
        seeds: Number of seeds, 0 to seeds - 1, that every model is trained with.
        trainer: Trainer file; default: as long as `fusionlit fit` trains, and Lightning's other defaults.
        out: Folder for the runs and the rows.

    Raises:
        ConfigError: If a file is missing, two models have one name, a row in `out` was measured with another
            configuration, or the trainer runs several processes.
    """
    check_files([*([data] if isinstance(data, Path) else []), *models, *([trainer] if trainer else [])])
    names = [model.stem for model in models]
    if len(set(names)) < len(names):
        raise ConfigError(f"Expected model files with different names, but got {names}.")
    if seeds < 1:
        raise ConfigError(f"Expected `seeds` to be at least 1, but got {seeds}.")
    file = out / "rows.jsonl"
    runs = [(model, seed) for seed in range(seeds) for model in models]
    done = {(row["model"], row["seed"]): row for row in read_rows(file)}
    with quiet_lightning():  # a mistake in the last file shows before the first is trained
        for model, seed in runs:
            if (model.stem, seed) in done:
                check_unchanged(build(data, model, seed, trainer, out), file)
            elif seed == 0:
                build(data, model, seed, trainer, out)
    out.mkdir(parents=True, exist_ok=True)
    begun = file.exists()
    file.touch()
    console = Console(width=None if sys.stdout.isatty() else 200)
    rows = []
    for i, (model, seed) in enumerate(runs):
        if (model.stem, seed) not in done:
            console.rule(f"run {i + 1} of {len(runs)}: {model.stem}, seed {seed}")
            cli = build(data, model, seed, trainer, out)
            if begun:  # then a run without a row is one that was cut off
                shutil.rmtree(cast(str, cli.trainer.log_dir), ignore_errors=True)
            cli.trainer.fit(cli.model, cli.datamodule)
            best = cast(BestCheckpoint, cli.trainer.checkpoint_callback).best_model_path
            metrics = cli.trainer.test(cli.model, cli.datamodule, ckpt_path=best, verbose=False)[0]
            done[model.stem, seed] = {"model": model.stem, "seed": seed, **metrics}
            with file.open("a") as lines:
                lines.write(json.dumps(done[model.stem, seed]) + "\n")
        rows.append(done[model.stem, seed])
    console.print(table(rows))
    return rows


def build(data: Path | Config, model: Path, seed: int, trainer: Path | None, out: Path) -> FusionCLI:
    """Data module, model and trainer of one run.

    Raises:
        ConfigError: If the trainer runs several processes, each of which would start the comparison again.
    """
    given = data if isinstance(data, Path) else json.dumps(data)
    args = [f"--data={given}", f"--model={model}", f"--seed_everything={seed}"]
    args += [f"--trainer={trainer}"] if trainer else []
    args += ["--trainer.logger=lightning.pytorch.loggers.TensorBoardLogger", f"--trainer.logger.save_dir={out}"]
    args += [f"--trainer.logger.name={model.stem}", f"--trainer.logger.version=seed{seed}"]
    cli = FusionCLI(run=False, args=args)
    if cli.trainer.world_size > 1:
        raise ConfigError(f"Expected one process to compare in, but {trainer} asks for {cli.trainer.world_size}.")
    return cli


def read_rows(file: Path) -> list[Row]:
    """Rows of the runs that are finished; none if there is no such file.

    Raises:
        DataError: If a line is no row.
    """
    lines = file.read_text().splitlines() if file.exists() else []
    try:
        rows = [json.loads(line) for line in lines]
        return [{"model": row["model"], "seed": row["seed"], **row} for row in rows]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{file}: expected a row of figures in every line ({error!r}). Remove the lines that are none."
        ) from error


def check_unchanged(cli: FusionCLI, file: Path) -> None:
    """Refuse to go on with a row that another configuration gave.

    Raises:
        ConfigError: If the run's configuration is gone or differs; the message says in which lines.
    """
    saved = Path(cast(str, cli.trainer.log_dir)) / "config.yaml"
    if not saved.is_file():
        raise ConfigError(f"{file} has a row of the run in {saved.parent}, which is gone: choose another `out`.")
    now = cli.parser.dump(cli.config, skip_none=False)
    lines = list(difflib.ndiff(saved.read_text().splitlines(), now.splitlines()))
    before, after = ("; ".join(line[2:].strip() for line in lines if line[0] == sign) for sign in "-+")
    if before or after:
        raise ConfigError(
            f"{file} has a row of another configuration: {saved} says `{before}`, this comparison `{after}`."
            " Choose another `out`, or compare as before."
        )


def table(rows: Sequence[Row]) -> Table:
    """Mean and standard deviation over the seeds of the figures that all rows have, a row a model."""
    left_out = ("model", "seed", "efficiency/trainable_parameters", "efficiency/peak_host_memory_mb")
    columns = [key for key in rows[0] if key not in left_out and all(key in row for row in rows)]
    view = Table(title=f"Test split, best checkpoint on validation, {len({r['seed'] for r in rows})} seed(s)")
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
