"""Finds the original error among the exceptions that jsonargparse raises between an option and its object."""

from argparse import ArgumentError
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from traceback import walk_tb

from fusionlit.errors import ConfigError, FusionlitError

SEE = (
    "See fusionlit fit --help, fusionlit fit --model.help CLASS (or --data.help CLASS), and for the arguments of a"
    " component fusionlit fit --model CLASS --model.encoder.help CLASS."
)


@contextmanager
def unwrapped() -> Iterator[None]:
    """Raise the original error instead of the exceptions that jsonargparse wraps around it.

    Raises:
        FusionlitError: If the original error is one, or if a module exits when it is imported.
        BaseException: Any other original error; its traceback ends at the bug.
    """
    try:
        yield
    except (Exception, SystemExit) as error:
        cause = innermost(error) or exiting_module(error) or beneath_jsonargparse(error)
        if cause is error:
            raise
        raise cause from cause.__cause__


def innermost(error: BaseException | None) -> FusionlitError | None:
    """The FusionlitError at the end of the chain of causes of `error`, if any: jsonargparse wraps such errors."""
    while error is not None and not isinstance(error, FusionlitError):
        wrapped = type(error) in (ValueError, TypeError, ArgumentError) or isinstance(error, SystemExit)
        error = error.__cause__ or (error.__context__ if wrapped else None)
    return error


def exiting_module(error: BaseException) -> ConfigError | None:
    """Error for a module that exits when it is imported, which would otherwise end the program silently."""
    files = [
        frame.f_code.co_filename for frame, _ in walk_tb(error.__traceback__) if frame.f_code.co_name == "<module>"
    ]
    if not files or not isinstance(error, SystemExit):
        return None
    return ConfigError(
        f"Expected {files[-1]} to be a module of classes, but it exits when it is imported ({error}). Put the code that"
        " it runs as a script under `if __name__ == '__main__':`."
    )


def beneath_jsonargparse(error: BaseException) -> BaseException:
    """The error that jsonargparse wrapped, if any, such as a bug in a class that it instantiated."""
    while type(error) is ValueError and error.__cause__ is not None:
        *_, (frame, _) = walk_tb(error.__traceback__)
        if not frame.f_globals["__name__"].startswith("jsonargparse"):
            break
        error = error.__cause__
    return error


def suggest_option(name: str, available: Iterable[str]) -> str | None:
    """Message for an unknown option with the most similar name in its group; None without a similar one."""
    head, _, last = name.rpartition(".")
    own = {path.rpartition(".")[2] for path in available if path.rpartition(".")[0] == head}
    close = get_close_matches(last, own, n=1, cutoff=0.7)
    return f"There is no {name}; did you mean {close[0]}?" if close else None


def no_file(path: object) -> str:
    """Message for a missing file."""
    return f"There is no file {path}."


def no_checkpoint(path: object) -> ConfigError:
    """Error for a missing checkpoint."""
    return ConfigError(f"Expected `ckpt_path` to be a checkpoint, but there is no file {path}.")
