"""Training and testing of every model on the same fixed splits."""

import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from lightning.pytorch.utilities import rank_zero_warn
from rich.console import Console

from fusionlit.callbacks import BestCheckpoint
from fusionlit.cli.run import Config, Run, Source, build_run
from fusionlit.compare.origin import Origin, canonical, digest, look_at
from fusionlit.compare.rows import Ledger, Row
from fusionlit.compare.tables import Column, common_figures, table, values
from fusionlit.console import quiet_lightning
from fusionlit.errors import ConfigError

LEDGER = "rows.jsonl"
"""File name of a comparison's ledger, in its folder."""


class Candidate(NamedTuple):
    """One model of a comparison.

    Args:
        model: Model file, class name, or content of a model file.
        overrides: Options for this model: see `build_run`.
    """

    model: Source
    overrides: Mapping[str, Any] = {}


def compare(
    data: Path | Config,
    models: Sequence[Path],
    seeds: int = 1,
    trainer: Path | None = None,
    out: Path = Path("runs/compare"),
) -> list[Row]:
    """Train every model on the same fixed splits, test its best checkpoint, and print one table.

    The splits belong to the data file and do not change with the seed. The checkpoint is selected by the main
    validation metric; each run is tested once. A run is written to `out/<model>/seed<seed>`, and its result to one line
    of `out/rows.jsonl`. The same command continues an interrupted comparison: runs with a row are not repeated, an
    interrupted run starts again. Several processes may share `out` if their models differ.

    Args:
        data: Data file, such as configs/data/replicator_shape.yaml, or its content; its arguments can be overridden, as
            in `fusionlit fit`: `--data.root FOLDER`.
        models: Model files; each model is named after its file.
        seeds: Number of seeds per model; seeds are 0 to seeds - 1.
        trainer: Trainer file; default: the training length of `fusionlit fit`, and Lightning's other defaults.
        out: Folder for the runs and the rows.

    Raises:
        ConfigError: If a file is missing, two models have the same name, a row in `out` was measured with another
            configuration, data or split, or the runs use several processes or select no checkpoint.
    """
    names = [model.stem for model in models]
    if len(set(names)) < len(names):
        raise ConfigError(f"Expected model files with different names, but got {names}.")
    if seeds < 1:
        raise ConfigError(f"Expected `seeds` to be at least 1, but got {seeds}.")
    candidates = {model.stem: Candidate(model) for model in models}
    rows = train_all(data, candidates, range(seeds), trainer, out)
    figures = {
        name.removeprefix("test/").removeprefix("efficiency/"): Column(values(rows, name))
        for name in common_figures(rows)
    }
    title = f"Test split, best checkpoint on validation, {seeds} seed(s)"
    Console(width=None if sys.stdout.isatty() else 200).print(table(figures).rich(title))
    return rows


def train_all(
    data: Source,
    models: Mapping[str, Candidate],
    seeds: Sequence[int],
    trainer: Source | None = None,
    out: Path = Path("runs/compare"),
    ledger: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> list[Row]:
    """`compare` for Python, without the table: returns one row per seed and model, in this order.

    Args:
        data: Data: see `build_run`.
        models: Models, by their names in the rows.
        seeds: Seeds to train every model with.
        trainer: Trainer arguments.
        out: Folder for the runs.
        ledger: File of the rows; default: `rows.jsonl` in `out`.
        overrides: Options for all models.

    Raises:
        ConfigError: See `compare`.
    """
    book = Ledger(ledger or out / LEDGER)
    own = out / LEDGER
    if own.exists() and not (book.path.exists() and book.path.samefile(own)):
        raise ConfigError(f"Expected an `out` without another comparison, but {out} has {LEDGER}: choose another.")
    if not seeds:
        raise ConfigError("Expected at least one seed, but got none.")
    begun = book.path.exists()

    def build(name: str, seed: int) -> Run:
        options = {**(overrides or {}), **models[name].overrides, "trainer.logger": _logger(out, name, seed)}
        run = build_run(data, models[name].model, trainer, seed, options)
        if run.trainer.world_size > 1:
            raise ConfigError(f"Expected one process for a comparison, but {trainer} uses {run.trainer.world_size}.")
        short: bool = run.trainer.fast_dev_run  # type: ignore[attr-defined]  # set in its constructor
        if short or not any(type(each) is BestCheckpoint for each in run.trainer.checkpoint_callbacks):
            raise ConfigError(
                "Expected runs that select a checkpoint by validation, but these do not: remove `fast_dev_run`,"
                " `enable_checkpointing: false` and `limit_val_batches: 0`."
            )
        return run

    todo = [(name, seed) for seed in seeds for name in models]
    origins, prints = {}, dict[str, tuple[str, str]]()
    with quiet_lightning():  # a mistake in the last file is reported before the first model is trained
        for name in models:
            run = build(name, seeds[0])
            key = digest(run.config["data"])
            prints[key] = prints.get(key) or look_at(run.datamodule)
            origins[name] = Origin(canonical(run.config), *prints[key])
            for seed in seeds:
                book.find(name, seed, origins[name])
    book.path.parent.mkdir(parents=True, exist_ok=True)
    book.path.touch()
    _warn_of_unknown(book)
    console = Console(width=None if sys.stdout.isatty() else 200)
    rows = []
    for i, (name, seed) in enumerate(todo):
        row = book.find(name, seed, origins[name])
        if row is None:
            console.rule(f"run {i + 1} of {len(todo)}: {name}, seed {seed}")
            run = build(name, seed)
            if begun:  # then a run without a row was interrupted
                shutil.rmtree(cast(str, run.trainer.log_dir), ignore_errors=True)
            row = train(run, name, seed, origins[name])
            book.append(row)
        rows.append(row)
    return rows


def train(run: Run, name: str, seed: int, origin: Origin) -> Row:
    """Train one run, and test its best checkpoint once."""
    began = time.perf_counter()
    run.trainer.fit(run.model, run.datamodule)
    best = cast(BestCheckpoint, run.trainer.checkpoint_callback).best_model_path
    metrics = run.trainer.test(run.model, run.datamodule, ckpt_path=best, verbose=False)[0]
    return Row(name, seed, dict(metrics), round(time.perf_counter() - began, 1), origin)


def _logger(out: Path, name: str, seed: int) -> Config:
    place = {"save_dir": str(out), "name": name, "version": f"seed{seed}"}
    return {"class_path": "lightning.pytorch.loggers.TensorBoardLogger", "init_args": place}


def _warn_of_unknown(book: Ledger) -> None:
    unknown = [row for row in book.rows() if row.origin is None]
    if unknown:
        rank_zero_warn(
            f"{book.path}: {len(unknown)} rows do not record their configuration, data and splits; they are accepted as"
            " they are."
        )
