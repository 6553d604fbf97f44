"""The command line: `fusionlit fit`, `validate`, `test`, `predict`, `compare`, `pack`, `render`, `weights`.

Modules are imported only when their command runs, since importing torch and Lightning takes seconds.
"""

import sys
import warnings
from collections.abc import Callable, Sequence
from inspect import isclass
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NamedTuple, cast

from fusionlit import __version__
from fusionlit.cli.early import check_options
from fusionlit.cli.errors import unwrapped
from fusionlit.errors import ConfigError, FusionlitError


class Command(NamedTuple):
    """Import path and one-line help of a command.

    The path leads to a LightningCLI, or to a function whose signature and docstring define its command line.
    """

    where: str
    help: str


FIT = "fusionlit.fit:FitCLI"
COMMANDS = {
    "fit": Command(FIT, "Train a model on data."),
    "validate": Command(FIT, "Evaluate a trained model on the validation split."),
    "test": Command(FIT, "Evaluate a trained model on the test split."),
    "predict": Command(FIT, "Write a trained model's predictions to a CSV file."),
    "compare": Command("fusionlit.compare:compare", "Train models on the same fixed splits, and print one table."),
    "pack": Command("fusionlit.data.packing:pack", "Pack a data set before its first use."),
    "render": Command("fusionlit.synthetic:render", "Write a data set: RGB/LiDAR frames, or signals."),
    "weights": Command(
        "fusionlit.analysis:weights", "Show how the fusion weights of a run moved, and the contributions."
    ),
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
    """Run one command; `args` replaces the arguments after `fusionlit` on the command line.

    Raises:
        SystemExit: With only the error message, if the input is invalid.
    """
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # so that class paths find the user's modules without installation
    # lightning 2.6.6 with torch 2.15: caused by Lightning's pytree helper, not by our code or the user's
    warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
    # A checkpoint's weights are the average: what the callback cannot restore is needed only to continue training.
    warnings.filterwarnings("ignore", message="You're using the WeightAveraging callback, but loading a checkpoint")
    command, *rest = (sys.argv[1:] if args is None else list(args)) or ["--help"]
    try:
        with unwrapped():
            run(command, rest)
    except FusionlitError as error:
        sys.exit(f"fusionlit: {type(error).__name__}: {error}")


def run(command: str, args: Sequence[str]) -> None:
    """Run a command, or print the help or the version.

    Raises:
        ConfigError: If the command does not exist; the message lists all commands.
        SystemExit: After printing the help or the version.
    """
    if command in ("-h", "--help", "--version"):
        print(f"fusionlit {__version__}" if command == "--version" else HELP)
        sys.exit(0)
    if command not in COMMANDS and not command.startswith("-"):
        raise ConfigError(f"Expected a command, one of {', '.join(COMMANDS)}, but got {command!r}.")
    where = COMMANDS["fit" if command.startswith("-") else command].where
    if where == FIT:
        check_options(args)
    found: Any = resolve_name(where)
    if isclass(found):  # an option may precede its command
        cast(Callable[..., Any], found)(args=[command, *args], parser_kwargs={"prog": "fusionlit"})
    else:
        resolve_name("fusionlit.cli.function:run_function")(command, found, args)
