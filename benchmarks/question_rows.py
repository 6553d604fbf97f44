"""The question's settings, trained with many seeds: rows of a ledger, and their table."""

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import get_context
from os import cpu_count
from time import perf_counter

import numpy as np
import torch
from the_question import Plan, Setting, make_run, silence, train
from tqdm import tqdm

from fusionlit.compare import Column, Ledger, Origin, Row, canonical, flat, look_at, table, values


def train_all(settings: Mapping[str, Setting], seeds: Sequence[int], plan: Plan) -> list[Row]:
    """One row for every setting and seed, in this order; rows in `plan.results` are not trained again.

    The model of a row is the setting. It has `accuracy` on the test split, and for each layer and source the fusion
    weight before and after training (`layers/<layer>/<source>/initial` and `final`), and contribution and attribution
    after training, on the validation split. One process per core trains; every row is added to the ledger immediately.

    Raises:
        ConfigError: If a row in the ledger was measured with another setting, plan or data.
    """
    with silence():
        prints = look_at(make_run(next(iter(settings.values())), 0, plan).datamodule)
        configs = {name: canonical(make_run(setting, 0, plan).config) for name, setting in settings.items()}
    origins = {name: Origin(config, *prints) for name, config in configs.items()}
    ledger = Ledger(plan.results) if plan.results else None
    names = [(name, seed) for seed in seeds for name in settings]
    found = {pair: ledger.find(*pair, origins[pair[0]]) if ledger else None for pair in names}
    rows = {pair: row for pair, row in found.items() if row is not None}
    wanted = [pair for pair in names if pair not in rows]
    workers = min(cpu_count() or 1, max(1, len(wanted)))
    with ProcessPoolExecutor(workers, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        jobs = [pool.submit(train_row, name, settings[name], seed, plan, origins[name]) for name, seed in wanted]
        try:
            for job in tqdm(as_completed(jobs), "training", len(jobs), disable=not jobs):
                row = job.result()
                rows[row.model, row.seed] = row
                if ledger:
                    ledger.append(row)
        except BaseException:
            pool.shutdown(cancel_futures=True)  # one run failed, or somebody has pressed Ctrl-C: no further ones
            raise
    return [rows[pair] for pair in names]


def train_row(name: str, setting: Setting, seed: int, plan: Plan, origin: Origin) -> Row:
    """Train one model, and store the figures for the table."""
    began = perf_counter()
    _, trajectories, accuracy = train(setting, seed, plan)
    layers: dict[str, dict[str, dict[str, float | None]]] = {}
    for layer, sources in trajectories.fusion_weights.items():
        for source, points in sources.items():
            shares = {
                "contribution": trajectories.contributions.get(layer, {}).get(source, {}),
                "attribution": trajectories.attributions.get(layer, {}).get(source, {}),
            }
            layers.setdefault(layer, {})[source] = {
                "initial": round(points[min(points)], 4),
                "final": round(points[max(points)], 4),
                # None where all is zero, or for what is handed down: then the row has no such figure
                **{key: round(x[max(points)], 4) if max(points) in x else None for key, x in shares.items()},
            }
    metrics = {"accuracy": round(accuracy, 4), **flat(layers, "layers")}
    return Row(name, seed, metrics, round(perf_counter() - began, 1), origin)


def layers_of(row: Row) -> dict[str, dict[str, dict[str, float]]]:
    """The figures of every source at every layer, in the order of the layers."""
    layers: dict[str, dict[str, dict[str, float]]] = {}
    for name, value in row.metrics.items():
        if name.startswith("layers/"):
            _, layer, source, key = name.split("/")
            layers.setdefault(layer, {}).setdefault(source, {})[key] = value
    return layers


def last_layer(row: Row) -> dict[str, dict[str, float]]:
    """The figures of every source at the last layer: the predictions if fused, or else the last stage."""
    return list(layers_of(row).values())[-1]


def moved(row: Row, *, last: bool) -> float:
    """How far fusion weights moved: the largest change in each layer, averaged over layers.

    Args:
        row: Row of one run.
        last: Whether to use the last layer, or all layers before it.
    """
    *before, final = layers_of(row).values()
    layers = [final] if last else before
    return float(np.mean([max(abs(x["final"] - x["initial"]) for x in sources.values()) for sources in layers]))


def summary(rows: Sequence[Row], sensors: Sequence[str]) -> str:
    """One line per setting, mean ± standard deviation over its seeds: see the column names."""
    figures: dict[str, Callable[[Row], float]] = {
        "moved, before": partial(moved, last=False),
        "moved, last layer": partial(moved, last=True),
        **{f"a({name})": partial(_at_last_layer, source=name, key="final") for name in sensors},
        **{f"c({name})": partial(_at_last_layer, source=name, key="contribution") for name in ["central", *sensors]},
        **{f"T({name})": partial(_at_last_layer, source=name, key="attribution") for name in sensors},
    }
    columns = {name: Column(values(rows, figure), 3) for name, figure in figures.items()}
    columns["test accuracy %"] = Column(values(rows, "accuracy", 100), 1)
    return table(columns, "setting").markdown()


def _at_last_layer(row: Row, source: str, key: str) -> float:
    """A figure of a sensor at the last layer; NaN if there is none because every weight is zero."""
    return last_layer(row)[source].get(key, math.nan)
