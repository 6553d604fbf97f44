"""What was wrong, of all that is raised on the way from an option to an object."""

from argparse import ArgumentError
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from traceback import walk_tb

from fusionlit.errors import ConfigError, FusionlitError

SEE = (
    "See fusionlit fit --help, fusionlit fit --model.help CLASS (or --data.help CLASS), and for the arguments of a part"
    " fusionlit fit --model CLASS --model.encoder.help CLASS."
)


@contextmanager
def unwrapped() -> Iterator[None]:
    """Raise what was wrong itself, and not what jsonargparse has wrapped around it.

    Raises:
        FusionlitError: If that is an error of ours, or a module that exits when it is imported.
        BaseException: Any other; its traceback ends where the bug is.
    """
    try:
        yield
    except (Exception, SystemExit) as error:
        cause = innermost(error) or exiting_module(error) or beneath_jsonargparse(error)
        if cause is error:
            raise
        raise cause from cause.__cause__


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


def meant_option(name: str, there_are: Iterable[str]) -> str | None:
    """What to say of an option that there is not, if one of its group is called nearly so."""
    head, _, last = name.rpartition(".")
    own = {path.rpartition(".")[2] for path in there_are if path.rpartition(".")[0] == head}
    close = get_close_matches(last, own, n=1, cutoff=0.7)
    return f"There is no {name}; did you mean {close[0]}?" if close else None


def no_file(path: object) -> str:
    """What to say of a file that is not there."""
    return f"There is no file {path}."


def no_checkpoint(path: object) -> ConfigError:
    """What to say of a checkpoint that is not there."""
    return ConfigError(f"Expected `ckpt_path` to be a checkpoint, but there is no file {path}.")
