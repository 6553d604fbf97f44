"""Mistakes that are seen before anything heavy is imported: torch and Lightning alone take seconds."""

import ast
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from fusionlit.cli.errors import SEE, meant_option, no_checkpoint, no_file

OPTIONS = (
    *("help", "config", "print_config", "seed_everything", "trainer", "model", "data", "imports"),
    *("smoothing", "checkpoint", "fusion_weights", "refit", "folds"),
    *("ckpt_path", "weights_only", "verbose", "return_predictions"),
)
"""What the options of `fit`, `validate`, `test` and `predict` begin with."""

READ = ("config", "data", "model", "trainer")
"""Options that take a configuration file; another option may name a file that is to be written."""


def check_options(args: Sequence[str]) -> None:
    """Refuse options and files that there are not, where that is plain without the classes that they are of.

    All else is left to the parser.

    Args:
        args: What follows the command.

    Raises:
        ConfigError: If a checkpoint is not there.
        SystemExit: With what was probably meant, as the parser would say it.
    """
    options = list(_options(args))
    for name, value in options:
        if name in READ and value.endswith((".yaml", ".yml")) and not Path(value).exists():
            _refuse(no_file(value))
        if name == "ckpt_path" and value.endswith(".ckpt") and not Path(value).is_file():
            raise no_checkpoint(value)
    trainers = [f"trainer.{name}" for name in trainer_arguments()]
    for name, _ in options:
        group, *rest = name.rstrip("+").split(".")
        asked = f"{group}.{rest[0]}" if group == "trainer" and rest else group
        there_are = trainers if "." in asked else OPTIONS
        if there_are and asked not in there_are and (said := meant_option(asked, there_are)):
            _refuse(said)


def trainer_arguments() -> list[str]:
    """Arguments of Lightning's trainer, from its source alone; none where that is not as expected."""
    spec = find_spec("lightning")
    file = Path(spec.origin).parent / "pytorch/trainer/trainer.py" if spec and spec.origin else None
    if file is None or not file.is_file():
        return []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            return [each.arg for each in (*node.args.args, *node.args.kwonlyargs) if each.arg != "self"]
    return []


def _options(args: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Name and value of each option; the value is empty where none follows."""
    for i, arg in enumerate(args):
        if arg.startswith("--"):
            name, is_there, value = arg[2:].partition("=")
            after = args[i + 1] if i + 1 < len(args) and not args[i + 1].startswith("--") else ""
            yield name, value if is_there else after


def _refuse(said: str) -> None:
    sys.stderr.write(f"fusionlit: {said}\n  {SEE}\n")
    raise SystemExit(2)
