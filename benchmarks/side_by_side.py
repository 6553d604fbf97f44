"""Alternating measurements of two variants in one run: ratios with their spread, stored as JSON lines."""

import json
import os
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def alternate(ways: Mapping[str, Callable[[], float]], rounds: int, warm: int = 1) -> dict[str, list[float]]:
    """Measurements of each variant, round by round, so that other load on the machine affects all alike.

    Args:
        ways: Variants; each takes a measurement (such as seconds) when it is called.
        rounds: Number of measurements of each variant.
        warm: Number of warm-up rounds, which do not count.
    """
    found: dict[str, list[float]] = {name: [] for name in ways}
    for i in range(warm + rounds):
        for name, measure in ways.items():
            value = measure()
            if i >= warm:
                found[name].append(value)
    return found


def ratio(slow: list[float], fast: list[float]) -> dict[str, float]:
    """Median and quartiles of the ratios of consecutive measurements."""
    each = [a / b for a, b in zip(slow, fast, strict=True)]
    low, _, high = quantiles(each, n=4, method="inclusive")
    return {"median": round(median(each), 3), "quartiles": (round(low, 3), round(high, 3))}  # type: ignore[dict-item]


def seconds(action: Callable[[], Any], repeats: int = 1) -> float:
    """Mean time of several calls, until the device has finished."""
    wait()
    begin = time.perf_counter()
    for _ in range(repeats):
        action()
    wait()
    return (time.perf_counter() - begin) / repeats


def wait() -> None:
    """Wait until the device has finished."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def record(benchmark: str, row: Mapping[str, Any]) -> None:
    """Add a row, with a description of the machine, to the benchmark's file, and print it."""
    machine = {
        "device": torch.cuda.get_device_name() if DEVICE.type == "cuda" else platform.machine(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2),
        "torch": torch.__version__,
    }
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / f"{benchmark}.jsonl").open("a") as file:
        file.write(json.dumps({**row, **machine}) + "\n")
    print(json.dumps({**row, **machine}, indent=1))
