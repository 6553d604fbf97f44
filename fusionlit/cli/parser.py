"""The command-line parser: its error messages name the mistake and suggest the closest valid name."""

import re
import sys
from argparse import ArgumentError
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from importlib import import_module
from inspect import isabstract, isclass, signature
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import Namespace, _typehints
from lightning.pytorch.cli import LightningArgumentParser
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from fusionlit.cli.errors import SEE, no_file, suggest_option
from fusionlit.contracts import lacking
from fusionlit.data import Augmentation, FusionDataModule
from fusionlit.encoders import Encoder, Head
from fusionlit.fusion import FusionOperator
from fusionlit.models import Balance, FusionModule
from fusionlit.models.schedules import LENGTHS, WARMING_UP
from fusionlit.tasks import Task

BASES = (
    FusionModule,
    FusionDataModule,
    Augmentation,
    FusionOperator,
    Encoder,
    Head,
    Task,
    Balance,
    Optimizer,
    LRScheduler,
)
NOISE = re.compile(
    r"\s*(- )?(Does not validate against any|Subtypes:|Errors:|Given value|Expected a <class 'NoneType'>|tip:|usage:"
    r"|Problem with given class_path)"
)
WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "list": "a list",
    "tuple": "a list",
    "dict": "a mapping",
}
"""Names of types in messages."""
PLAINER: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (re.compile(r"Expected a path but (\S+) either not accessible or invalid"), r"\1 cannot be used:"),
    (re.compile(r"Type \S*Callable\[.*\] expects a function or a callable class: "), ""),
    (re.compile(r"\.*\. Got value: Namespace\(.*\)$"), "."),
    (re.compile(r'Parser key "([\w.]+)"'), r"\1"),
    (re.compile(r"a typing\.Literal\[(.*?)\]"), r"one of \1"),
    (re.compile(r"\ba <class '(?:[\w.]+\.)?(\w+)'>"), lambda found: WORDS.get(found[1], f"a {found[1]}")),
    (re.compile(r"<class '(?:[\w.]+\.)?(\w+)'>"), r"\1"),
    (re.compile(r"\b(?:typing|collections\.abc)\.(?=[A-Z])"), ""),
)
"""Phrases of jsonargparse, and their replacements in plain words."""
CLASS_PATH = re.compile(r"(\w+\.)+[A-Za-z_]\w*")
FILE_AND_CLASS = re.compile(r"([\w/]+?)(?:\.py)?[:.]([A-Z]\w*)")
UNKNOWN_OPTION = re.compile(
    r"(?:(?:Group '(?P<group>[\w.]+)' .*)?[Oo]ption '|unrecognized arguments: --)(?P<name>[\w.]+)"
)


def attempt_order(subtype: object, usual: Callable[[object], int] = _typehints.union_subtype_sort_key) -> int:
    """Sort key for the order in which jsonargparse tries the types of a union: `int` comes first.

    `float` accepts whole numbers too: as `float | int`, 1 would become 1.0, which Lightning's batch limits read as all
    of the data. Lightning writes `int | float`, but `typing` treats unions that differ only in order as equal, and
    keeps the first one of the process.
    """
    return -1 if subtype is int else usual(subtype)


_typehints.union_subtype_sort_key = attempt_order


class FusionParser(LightningArgumentParser):
    """LightningArgumentParser with shorter errors: without the other types that did not fit and the configuration."""

    def __init__(self, *args: Any, allow_abbrev: bool = False, **kwargs: Any) -> None:  # noqa: ANN401 (LightningArgumentParser's own arguments)
        super().__init__(*args, allow_abbrev=allow_abbrev, **kwargs)

    def parse_args(self, args: Sequence[str] | None = None, *rest: Any, **kwargs: Any) -> Namespace:  # type: ignore[override]  # noqa: ANN401 (ArgumentParser's own arguments)
        """Parse `args`; jsonargparse passes the null of a nested option to the parser of its class as `None`."""
        if args is not None and not self.exit_on_error:
            args = [arg.removesuffix("=None") + "=null" if arg.endswith("=None") else arg for arg in args]
        return super().parse_args(args, *rest, **kwargs)

    def add_class_arguments(self, theclass: Any, *args: Any, **kwargs: Any) -> list[str]:  # noqa: ANN401 (ArgumentParser's own arguments)
        """Add the arguments of a class; a scheduler may leave its length open, for the trainer to fill in."""
        added: list[str] = super().add_class_arguments(theclass, *args, **kwargs)
        if isclass(theclass) and issubclass(theclass, LRScheduler):
            for action in self._actions:
                action.required &= action.dest not in LENGTHS
                if action.dest in LENGTHS and not issubclass(theclass, WARMING_UP):
                    action.default = None  # PolynomialLR's default, 5, would not count as open
        return added

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print the causes and where to find help, and exit with status 2."""
        options = [each.dest for each in (getattr(ex, "subcommand_parser", None) or self)._actions]
        if not self.exit_on_error:
            error = ArgumentError(None, message)
            error.options = options  # type: ignore[attr-defined]  # for the caller: the outer parser, or Python code
            raise error from ex
        sys.stderr.write(f"fusionlit: {explained(message, [*options, *options_within(ex)])}\n  {SEE}\n")
        raise SystemExit(2) from ex


def explained(message: str, options: Sequence[str]) -> str:
    """A few lines in plain words that name the mistake and suggest a fix.

    Args:
        message: Message of jsonargparse.
        options: Available options.
    """
    lines = causes(message)
    hints = [hint for word in re.findall(r"[\w./:-]+", message) if (hint := guess(word.rstrip(":.")))]
    for found in UNKNOWN_OPTION.finditer(message):
        hints.append(suggestion(".".join(filter(None, found.groups())), options))
    bases = [base for base in BASES if "is abstract" in message and re.search(rf"\b{base.__name__}\b", message)]
    hints += [f"Write one of {', '.join(concrete(base))} as class_path, its arguments in init_args." for base in bases]
    lines = list(dict.fromkeys([*lines, *list(dict.fromkeys(hints))[:3]]))
    return "\n  ".join(line if len(line) <= 400 else f"{line[:400]} ..." for line in lines)


def options_within(error: BaseException | None) -> list[str]:
    """Arguments of the components whose parsers raised the causes of an error."""
    found: list[str] = []
    while error is not None:
        found += getattr(error, "options", [])
        error = error.__cause__ or error.__context__
    return found


def causes(message: str) -> list[str]:
    """The lines of a message that name the mistake, in plain words."""
    return [plainer(line) for line in message.splitlines() if line.strip() and not NOISE.match(line)]


def plainer(line: str) -> str:
    """A line of a message in plain words."""
    for pattern, replacement in PLAINER:
        line = pattern.sub(replacement, line)
    return line


def guess(word: str) -> str | None:
    """A suggestion for a word of an error message: a missing file, a wrong class path, or a mistyped class name."""
    if word.endswith((".yaml", ".yml", ".ckpt")) and not Path(word).exists():
        return no_file(word)
    if (file := FILE_AND_CLASS.fullmatch(word)) and Path(f"{file[1]}.py").exists():
        class_path = f"{file[1].replace('/', '.')}.{file[2]}"
        if word != class_path:
            return f"Write {class_path} instead of {word}."
    if (
        CLASS_PATH.fullmatch(word)
        and not word.endswith(".py")
        and (word.rpartition(".")[2][0].isupper() or Path(f"{word.split('.')[0]}.py").exists())
    ):
        return class_problem(word)
    names = known_names()
    if word in (*names, *(base.__name__ for base in BASES)) or not word[:1].isupper() or "." in word:
        return None
    close = did_you_mean(word, names)
    return f"{word!r} is not a known class{close}" if close else None


def class_problem(class_path: str) -> str | None:
    """Why the class with this path cannot be used: it cannot be found, or lacks methods; None if it can."""
    path, _, name = class_path.rpartition(".")
    try:
        module = import_module(path)
    except (Exception, SystemExit) as error:  # a user's module may raise anything
        if isinstance(error, ModuleNotFoundError) and error.name in (path, path.split(".")[0]):
            known = [file.stem for file in Path.cwd().glob("*.py")]
            return f"There is no module {path}, neither in {Path.cwd()} nor installed{did_you_mean(path, known) or '.'}"
        return f"The module {path} cannot be imported: {type(error).__name__}: {error}."
    if not hasattr(module, name):
        file = getattr(module, "__file__", "Python itself")  # not always the intended one
        return f"The module {path} has no {name}{did_you_mean(name, dir(module)) or '.'} It was loaded from {file}."
    found = getattr(module, name)
    users_own = isclass(found) and issubclass(found, BASES) and not path.startswith("fusionlit.")
    return lacking(found) if users_own else None


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """The end of a sentence about an unknown word; empty without a similar name."""
    close = get_close_matches(word, names, n=2, cutoff=0.8)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def suggestion(name: str, available: Iterable[str]) -> str:
    """Message for an unknown argument: the most similar available name, or else the classes that have this argument."""
    if message := suggest_option(name, available):
        return message
    last = name.rpartition(".")[2]
    takers = sorted({cls.__name__ for cls in known_classes() if last in signature(cls).parameters})
    of = f"; it is an argument of {', '.join(takers[:3])}. Name the class first (class_path)" if takers else ""
    return f"There is no {name} here{of}."


def concrete(base: type) -> list[str]:
    """Short names of the package's concrete subclasses of a base class."""
    ours = [cls for cls in known_classes(base) if cls.__module__.startswith("fusionlit.")]
    return sorted(cls.__name__ for cls in ours if not isabstract(cls))


def known_names() -> list[str]:
    """Short names of all classes that can be named in a configuration."""
    return sorted({cls.__name__ for cls in known_classes()})


def known_classes(*bases: type) -> list[type]:
    """All subclasses of these base classes, or of all of `BASES`."""
    found: list[type] = []
    rest = list(bases or BASES)
    while rest:
        subclasses: list[type] = rest.pop().__subclasses__()
        found += subclasses
        rest += subclasses
    return found
