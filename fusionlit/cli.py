"""The command line: `fusionlit fit`, `validate`, `test`, `predict`, `compare`, `pack`, `render`, `weights`.

What a command needs is imported when it runs: torch and Lightning alone take seconds.
"""

import json
import sys
import warnings
from argparse import ArgumentError
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from inspect import isfunction, signature
from pathlib import Path
from pkgutil import resolve_name
from traceback import walk_tb
from typing import Any, NamedTuple

import docstring_parser
from jsonargparse import ArgumentParser

from fusionlit import __version__
from fusionlit.errors import ConfigError, DataError, FusionlitError


class Command(NamedTuple):
    """Where a command is, and its line of help.

    It is a LightningCLI, or a function whose signature and docstring are its command line.
    """

    where: str
    help: str


COMMANDS = {
    "fit": Command("fusionlit.fit:FitCLI", "Train a model on data."),
    "validate": Command("fusionlit.fit:FitCLI", "Measure a trained model on the validation split."),
    "test": Command("fusionlit.fit:FitCLI", "Measure a trained model on the test split."),
    "predict": Command("fusionlit.fit:FitCLI", "Write a trained model's predictions to a CSV file."),
    "compare": Command("fusionlit.compare:compare", "Train models on the same frozen splits, and print one table."),
    "pack": Command("fusionlit.data.pack.command:pack", "Pack a data set ahead of its first use."),
    "render": Command("fusionlit.data.render:render", "Write a data set: RGB/LiDAR frames, or signals."),
    "weights": Command("fusionlit.analysis:weights", "Show how a run's fusion weights moved, and contributions."),
}

HELP = """usage: fusionlit [-h] [--version] COMMAND ...

Train, compare and explain multimodal fusion.
`fusionlit COMMAND --help` lists the options of a command.

{commands}

  -h, --help  Show this help and exit.
  --version   Show the version and exit.""".format(
    commands="\n".join(f"  {name:10}{command.help}" for name, command in COMMANDS.items())
)


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
            run(sys.argv[1] if len(sys.argv) > 1 else "--help", sys.argv[2:])
        except (Exception, SystemExit) as error:
            cause = innermost(error) or exiting_module(error)
            if cause is not None:
                sys.exit(f"fusionlit: {type(cause).__name__}: {cause}")
            bug = beneath_jsonargparse(error)
            if bug is error:
                raise
            raise bug from bug.__cause__  # its traceback ends where the bug is


@contextmanager
def command_line(args: Sequence[str]) -> Iterator[None]:
    """Let `args` stand in `sys.argv`, from where LightningCLI reads and DDP starts its other processes."""
    before, sys.argv = sys.argv, [sys.argv[0], *args]
    try:
        yield
    finally:
        sys.argv = before


def run(command: str, args: Sequence[str]) -> None:
    """Run a command, or answer an option that stands in its place.

    Raises:
        ConfigError: If there is no such command; the message names all that there are.
        SystemExit: After the help or the version.
    """
    if command in ("-h", "--help", "--version"):
        print(f"fusionlit {__version__}" if command == "--version" else HELP)
        sys.exit(0)
    if command not in COMMANDS and not command.startswith("-"):
        raise ConfigError(f"Expected a command, one of {', '.join(COMMANDS)}, but got {command!r}.")
    found = resolve_name(COMMANDS["fit" if command.startswith("-") else command].where)
    if isfunction(found):
        run_function(command, found, args)
    else:  # it reads sys.argv itself, where an option may stand before its command
        found(parser_kwargs={"prog": "fusionlit"})


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


def run_function(name: str, function: Callable[..., Any], args: Sequence[str]) -> None:
    """Parse the arguments of a command that is a function by its signature, and call it."""
    annotations = {key: param.annotation for key, param in signature(function).parameters.items()}
    help_of = {
        param.arg_name: param.description or "" for param in docstring_parser.parse(function.__doc__ or "").params
    }
    named = "data" in annotations  # as in `fit`: `--data FILE`, and where it is a class `--data.root FOLDER` too
    parser_class = resolve_name("fusionlit.parser:FusionParser") if named else ArgumentParser
    description = (function.__doc__ or "").split("\n\n")[0]
    parser = parser_class(prog=f"fusionlit {name}", description=description, allow_abbrev=False)
    flags = {key for key, annotation in annotations.items() if annotation is bool}
    for key in flags:  # `--overwrite`, not `--overwrite true`
        parser.add_argument(f"--{key}", action="store_true", help=help_of[key])
    skip: set[str | int] = {*flags}
    if "models" in annotations:  # `--models A B C`, and a data module that each run makes for itself
        parser.add_argument("--models", nargs="+", type=Path, required=True, help=help_of["models"])
        base = resolve_name("fusionlit.data:FusionDataModule")
        parser.add_subclass_arguments(base, "data", instantiate=False, required=True, help=help_of["data"])
        skip |= {"models", "data"}
    parser.add_function_arguments(function, as_positional=not named, skip=skip, sub_configs=True)
    config = parser.parse_args(args)
    arguments = parser.instantiate(config).as_dict()
    if "models" in annotations:
        arguments["data"] = json.loads(parser.dump(config, skip_none=False, format="json"))["data"]
    try:
        function(**arguments)
    except OSError as error:
        raise DataError(f"{error.filename}: {error.strerror}.") from error
