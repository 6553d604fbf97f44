"""Processes that tests start, in milliseconds: forked from a server that has imported everything heavy, once a worker.

The server itself does nothing, so that every process begins like one that has just imported these modules.
"""

import os
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

import torch
from lightning.fabric.plugins.environments.lightning import find_free_network_port

FORKING = get_context("forkserver")
FORKING.set_forkserver_preload(["fusionlit.main", "fusionlit.cli.fusion_cli", "fusionlit.compare", "fusionlit.testing"])


def start(function: Callable[..., Any], *args: Any, out: Path, folder: Path | None = None, **environment: str) -> Any:
    """Start a process that calls a function of a module; what it prints goes to the file `out`."""
    process = FORKING.Process(target=_call, args=(out, folder, environment, function, args))
    process.start()
    return process


def run(function: Callable[..., Any], *args: Any, folder: Path | None = None, timeout: float = 280) -> str:
    """Call a function in a process of its own, in `folder`; what it printed."""
    return _join([({}, function, args)], folder, timeout)[0]


def run_two(function: Callable[..., Any], *args: Any, folder: Path | None = None, timeout: float = 280) -> list[str]:
    """Call a function in both processes of a DDP run, as a launcher such as torchrun starts them; what each printed.

    Where one waits for the other for good, the time runs out.
    """
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(find_free_network_port()), "NODE_RANK": "0"}
    return _join([({**shared, "LOCAL_RANK": str(rank)}, function, args) for rank in range(2)], folder, timeout)


def _join(calls: list[tuple[dict[str, str], Callable[..., Any], tuple[Any, ...]]], folder: Any, timeout: float) -> Any:
    with TemporaryDirectory() as temporary:
        files = [Path(temporary) / f"{rank}.txt" for rank in range(len(calls))]
        processes = [
            start(function, *args, out=file, folder=folder, **environment)
            for file, (environment, function, args) in zip(files, calls, strict=True)
        ]
        try:
            end = monotonic() + timeout
            # One that failed leaves the other waiting.
            while any(p.exitcode is None for p in processes) and not any(p.exitcode for p in processes):
                assert monotonic() < end, "the time ran out:\n" + "\n".join(file.read_text() for file in files)
                for process in processes:
                    process.join(0.05)
        finally:
            for process in processes:
                process.kill()
                process.join()
        said = [file.read_text() for file in files]
        assert [process.exitcode for process in processes] == [0] * len(processes), "\n".join(said)
        return said


def _call(
    out: Path, folder: Path | None, environment: dict[str, str], function: Callable[..., Any], args: tuple[Any, ...]
) -> None:
    descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    os.environ.update(environment)
    torch.set_num_threads(1)
    if folder is not None:
        os.chdir(folder)
    function(*args)
