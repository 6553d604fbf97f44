"""A run as an object: trainer, model and data, built in Python exactly as the command line builds them."""

import json
from argparse import ArgumentError
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from lightning import Trainer

from fusionlit.cli.errors import unwrapped
from fusionlit.cli.fusion_cli import FusionCLI
from fusionlit.cli.parser import explained, options_within
from fusionlit.data import FusionDataModule
from fusionlit.errors import ConfigError
from fusionlit.models import FusionModule

Config = dict[str, Any]
"""Content of a configuration file."""
Source = Path | str | Config
"""A part of a configuration: a file, the name of a class, or the content of a file."""


@dataclass(frozen=True)
class Run:
    """One run, ready for `run.trainer.fit(run.model, run.datamodule)`.

    Args:
        trainer: Trainer with the callbacks that every run has.
        model: Fusion model, with sizes from the data.
        datamodule: Data module.
        config: Whole configuration, as in config.yaml.
    """

    trainer: Trainer
    model: FusionModule
    datamodule: FusionDataModule
    config: Config

    def save(self, path: Path) -> None:
        """Write the configuration as config.yaml."""
        path.write_text(yaml.safe_dump(self.config, sort_keys=False), encoding="utf-8")


def build_run(
    data: Source,
    model: Source,
    trainer: Source | None = None,
    seed: int = 0,
    overrides: Mapping[str, Any] | None = None,
) -> Run:
    """Build the run that `fusionlit fit` would train, from files or dicts; `sys.argv` is ignored.

    Each part may be a YAML file, a dict with the content of such a file, or the name of a class. The global seed is
    set, as on the command line.

    Args:
        data: Data module, such as `configs/data/replicator_shape.yaml`.
        model: Fusion model, such as `configs/model/centralnet.yaml` or `{"class_path": "EarlyFusion"}`.
        trainer: Trainer arguments; default: Lightning's, except for the number of epochs (`TrainingLength`).
        seed: Global random seed.
        overrides: Options of `fusionlit fit` by name, such as `{"trainer.max_epochs": 3, "data.root": "frames"}`; they
            take precedence over the parts, and later ones over earlier ones.

    Raises:
        ConfigError: If a file is missing, an option is unknown (the message suggests a similar one), or a value is
            invalid.
        DataError: If the data is not as expected.
    """
    return _build(run_options(data, model, trainer, seed, overrides))


def rebuild_run(config: Config) -> Run:
    """Build the run of a whole configuration, as in config.yaml.

    Raises:
        ConfigError: If it does not fit the classes that it names.
    """
    return _build(config)


def run_options(
    data: Source,
    model: Source,
    trainer: Source | None = None,
    seed: int = 0,
    overrides: Mapping[str, Any] | None = None,
) -> list[str]:
    """The arguments of `build_run` as command-line options.

    Raises:
        ConfigError: If a file is missing.
    """
    parts: dict[str, Source] = {"data": data, "model": model} | ({} if trainer is None else {"trainer": trainer})
    for name, part in parts.items():
        if isinstance(part, Path) and not part.is_file():
            raise ConfigError(f"Expected `{name}` to be a configuration file, but {part} does not exist.")
    options = {**parts, "seed_everything": seed, **(overrides or {})}
    return [f"--{name}={_written(value)}" for name, value in options.items()]


def whole_config(cli: FusionCLI) -> Config:
    """Content of config.yaml for the run that a command line builds."""
    command = cli.subcommand
    config = cli.config[command] if command else cli.config
    dumped: Config = json.loads(cli._parser(command).dump(config, skip_none=False, format="json"))
    return dumped


def _build(args: list[str] | Config) -> Run:
    try:
        with unwrapped():
            cli = FusionCLI(run=False, args=args, parser_kwargs={"exit_on_error": False})
    except ArgumentError as error:
        raise ConfigError(explained(str(error), options_within(error))) from error
    return Run(cli.trainer, cli.model, cli.datamodule, whole_config(cli))


def _written(value: Any) -> str:  # noqa: ANN401 (any value of an option)
    return str(value) if isinstance(value, str | Path) else json.dumps(value, default=str)
