"""The command line: `fusionlit fit`, `validate`, `test`, `predict`, `compare`, `pack`, `render`, `weights`."""

import sys
import warnings
from argparse import ArgumentError
from collections.abc import Callable, Sequence
from inspect import signature
from pathlib import Path
from traceback import walk_tb
from typing import Any

import docstring_parser
from jsonargparse import ArgumentParser

from fusionlit.analysis import weights
from fusionlit.build import command_line
from fusionlit.compare import compare
from fusionlit.data.packing import pack
from fusionlit.errors import ConfigError, DataError, FusionlitError
from fusionlit.fit import FitCLI
from fusionlit.synthetic import render

COMMANDS: dict[str, Callable[..., Any]] = {
    "compare": compare,
    "pack": pack,
    "render": render,
    "weights": weights,
}
"""What is not a method of Lightning's trainer: a function whose signature and docstring are its command line."""

DESCRIPTION = """
Train, compare and explain multimodal fusion. Beside Lightning's own subcommands, listed below:
`fusionlit compare` trains every strategy on the same frozen splits, `fusionlit pack` packs a data set ahead of its
first use, `fusionlit render` writes a data set (RGB/LiDAR frames, or signals), `fusionlit weights` shows a run's fusion
weights and contributions; each has a --help.
"""


def main(args: Sequence[str] | None = None) -> None:
    """Run one command; `args` stands for what follows `fusionlit` on the command line.

    Raises:
        SystemExit: With the message alone, if what was given cannot be used.
    """
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # a user's own module is found by class path, without being installed
    # lightning 2.6.6 under torch 2.15: its own pytree helper, nothing of ours or of the user's
    warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
    # The weights of a checkpoint are the average: what it says it cannot restore is needed to train on alone.
    warnings.filterwarnings("ignore", message="You're using the WeightAveraging callback, but loading a checkpoint")
    with command_line(sys.argv[1:] if args is None else args):
        try:
            command = sys.argv[1] if len(sys.argv) > 1 else "--help"
            if command in COMMANDS:
                run_function(command, sys.argv[2:])
            else:
                check_command(command)
                FitCLI(parser_kwargs={"prog": "fusionlit", "description": DESCRIPTION})
        except (Exception, SystemExit) as error:
            cause = innermost(error) or exiting_module(error)
            if cause is not None:
                sys.exit(f"fusionlit: {type(cause).__name__}: {cause}")
            bug = beneath_jsonargparse(error)
            if bug is error:
                raise
            raise bug from bug.__cause__  # its traceback ends where the bug is


def check_command(command: str) -> None:
    """Refuse a command that there is not, naming all that there are.

    Raises:
        ConfigError: If it is none, and no option either.
    """
    commands = [*FitCLI.subcommands(), *COMMANDS]
    if not command.startswith("-") and command not in commands:
        raise ConfigError(f"Expected a command, one of {', '.join(commands)}, but got {command!r}.")


def innermost(error: BaseException | None) -> FusionlitError | None:
    """The error of ours that `error` is, or that jsonargparse has wrapped around what a constructor raised."""
    while error is not None and not isinstance(error, FusionlitError):
        wrapped = type(error) in (ValueError, TypeError, ArgumentError) or isinstance(error, SystemExit)
        error = error.__cause__ or (error.__context__ if wrapped else None)
    return error


def exiting_module(error: BaseException) -> ConfigError | None:
    """What to say of a module that exits when it is imported; else it would end the program in silence."""
    files = [
        frame.f_code.co_filename for frame, _ in walk_tb(error.__traceback__) if frame.f_code.co_name == "<module>"
    ]
    if not files or not isinstance(error, SystemExit):
        return None
    return ConfigError(
        f"Expected {files[-1]} to be a module of classes, but it exits when it is imported ({error}). Put what it does"
        " as a script under `if __name__ == '__main__':`."
    )


def beneath_jsonargparse(error: BaseException) -> BaseException:
    """The error that jsonargparse has wrapped, if it has: a bug in a class that it made, say."""
    while type(error) is ValueError and error.__cause__ is not None:
        *_, (frame, _) = walk_tb(error.__traceback__)
        if not frame.f_globals["__name__"].startswith("jsonargparse"):
            break
        error = error.__cause__
    return error


def run_function(name: str, args: Sequence[str]) -> None:
    """Parse the arguments of one of `COMMANDS` by its signature, and call it."""
    function = COMMANDS[name]
    parser = ArgumentParser(prog=f"fusionlit {name}", description=(function.__doc__ or "").split("\n\n")[0])
    help_of = {param.arg_name: param.description for param in docstring_parser.parse(function.__doc__ or "").params}
    annotations = {key: param.annotation for key, param in signature(function).parameters.items()}
    flags = {key for key, annotation in annotations.items() if annotation is bool}
    for key in flags:  # `--overwrite`, not `--overwrite true`
        parser.add_argument(f"--{key}", action="store_true", help=help_of[key])
    if "models" in annotations:  # `--models A B C`
        parser.add_argument("--models", nargs="+", type=Path, required=True, help=help_of["models"])
    named = "data" in annotations  # as in `fit`: `--data FILE`, and where it is a class `--data.root FOLDER` too
    parser.add_function_arguments(function, as_positional=not named, skip={"models", *flags}, sub_configs=True)
    arguments = parser.instantiate(parser.parse_args(args)).as_dict()
    try:
        function(**arguments)
    except OSError as error:
        raise DataError(f"{error.filename}: {error.strerror}.") from error
