"""Commands that are functions: the signature and the docstring define the command line."""

import json
from collections.abc import Callable, Sequence
from inspect import signature
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import docstring_parser
from jsonargparse import ArgumentParser

from fusionlit.errors import DataError


def run_function(name: str, function: Callable[..., Any], args: Sequence[str]) -> None:
    """Parse the arguments of a command according to the function's signature, and call the function."""
    annotations = {key: param.annotation for key, param in signature(function).parameters.items()}
    help_of = {param.arg_name: param.description for param in docstring_parser.parse(function.__doc__ or "").params}
    named = "data" in annotations  # as in `fit`: `--data FILE`, and `--data.root FOLDER` for arguments of the class
    parser_class = resolve_name("fusionlit.cli.parser:FusionParser") if named else ArgumentParser
    description = (function.__doc__ or "").split("\n\n")[0]
    parser = parser_class(prog=f"fusionlit {name}", description=description, allow_abbrev=False)
    flags = {key for key, annotation in annotations.items() if annotation is bool}
    for key in flags:  # `--overwrite`, not `--overwrite true`
        parser.add_argument(f"--{key}", action="store_true", help=help_of[key])
    skip: set[str | int] = {*flags}
    if "models" in annotations:  # `--models A B C`, and a data module that each run instantiates itself
        parser.add_argument("--models", nargs="+", type=Path, required=True, help=help_of["models"])
        base = resolve_name("fusionlit.data:FusionDataModule")
        parser.add_subclass_arguments(base, "data", instantiate=False, required=True, help=help_of["data"] or "")
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
