"""Checks that run before anything heavy is imported: importing torch and Lightning takes seconds."""

import ast
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from fusionlit.cli.errors import SEE, no_checkpoint, no_file, suggest_option

OPTIONS = (
    *("help", "config", "print_config", "seed_everything", "trainer", "model", "data", "imports"),
    *("smoothing", "checkpoint", "fusion_weights", "refit", "folds"),
    *("ckpt_path", "weights_only", "verbose", "return_predictions"),
)
"""First parts of the option names of `fit`, `validate`, `test` and `predict`."""

READ = ("config", "data", "model", "trainer")
"""Options that take a configuration file; other options may name a file to be written."""


def check_options(args: Sequence[str]) -> None:
    """Reject missing files and unknown options, as far as they can be recognised without importing any class.

    Everything else is left to the parser.

    Args:
        args: Arguments after the command.

    Raises:
        ConfigError: If a checkpoint does not exist.
        SystemExit: If a file or option does not exist, with the parser's message and suggestion.
    """
    options = list(_options(args))
    for name, value in options:
        if name in READ and value.endswith((".yaml", ".yml")) and not Path(value).exists():
            _exit(no_file(value))
        if name == "ckpt_path" and value.endswith(".ckpt") and not Path(value).is_file():
            raise no_checkpoint(value)
    trainers = [f"trainer.{name}" for name in trainer_arguments()]
    for name, _ in options:
        group, *rest = name.rstrip("+").split(".")
        asked = f"{group}.{rest[0]}" if group == "trainer" and rest else group
        available = trainers if "." in asked else OPTIONS
        if available and asked not in available and (message := suggest_option(asked, available)):
            _exit(message)


def trainer_arguments() -> list[str]:
    """Arguments of Lightning's trainer, parsed from its source; empty if the source is not as expected."""
    spec = find_spec("lightning")
    file = Path(spec.origin).parent / "pytorch/trainer/trainer.py" if spec and spec.origin else None
    if file is None or not file.is_file():
        return []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            return [each.arg for each in (*node.args.args, *node.args.kwonlyargs) if each.arg != "self"]
    return []


def _options(args: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Name and value of each option; the value is empty if none follows."""
    for i, arg in enumerate(args):
        if arg.startswith("--"):
            name, equals, value = arg[2:].partition("=")
            following = args[i + 1] if i + 1 < len(args) and not args[i + 1].startswith("--") else ""
            yield name, value if equals else following


def _exit(message: str) -> None:
    sys.stderr.write(f"fusionlit: {message}\n  {SEE}\n")
    raise SystemExit(2)
