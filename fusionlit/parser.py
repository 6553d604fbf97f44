"""The parser of the command line: its errors say what was wrong, and what was probably meant."""

import re
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import NoReturn

from lightning.pytorch.cli import LightningArgumentParser
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from fusionlit.data import FusionDataModule
from fusionlit.encoders import Encoder, Head
from fusionlit.fusion import FusionOperator
from fusionlit.models import FusionModule
from fusionlit.tasks import Task

BASES = (FusionModule, FusionDataModule, FusionOperator, Encoder, Head, Task, Optimizer, LRScheduler)
NOISE = re.compile(
    r"\s*(- )?(Does not validate against any|Subtypes:|Errors:|Given value|Expected a <class 'NoneType'>|tip:|usage:)"
)


class FusionParser(LightningArgumentParser):
    """LightningArgumentParser whose errors leave out what only repeats them.

    That is: every other type that did not fit, and the entire configuration.
    """

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print the causes and where to look further, and exit with 2."""
        lines = [line for line in str(message).splitlines() if line.strip() and not NOISE.match(line)]
        hints = [hint for word in re.findall(r"[\w./-]+", message) if (hint := guess(word))]
        lines += list(dict.fromkeys(hints))[:3]
        command = self.prog.removesuffix(".py")
        shown = "\n  ".join(line if len(line) <= 400 else f"{line[:400]} ..." for line in lines)
        sys.stderr.write(f"fusionlit: {shown}\n  See {command} --help, or --model.help CLASS and --data.help CLASS.\n")
        raise SystemExit(2) from ex


def guess(word: str) -> str | None:
    """What a word of an error message was probably meant to be."""
    if word.endswith((".yaml", ".yml", ".ckpt")) and not Path(word).exists():
        return f"There is no file {word}."
    names = known_names()
    if word in names or not word[:1].isupper() or "." in word:
        return None
    close = get_close_matches(word, names, n=2, cutoff=0.8)
    return f"{word!r} is no class that is known here; did you mean {' or '.join(close)}?" if close else None


def known_names() -> list[str]:
    """Short names of all classes that can be named in a configuration."""
    names: set[str] = set()
    rest: list[type] = list(BASES)
    while rest:
        subclasses: list[type] = rest.pop().__subclasses__()
        names |= {subclass.__name__ for subclass in subclasses}
        rest += subclasses
    return sorted(names)
