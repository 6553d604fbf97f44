"""A run as an object: trainer, model and data of a configuration, made in Python as the command line makes them."""

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
"""What a configuration file holds."""
Source = Path | str | Config
"""A part of a configuration: its file, the name of a class, or what a file would hold."""


@dataclass(frozen=True)
class Run:
    """One run, ready for `run.trainer.fit(run.model, run.datamodule)`.

    Args:
        trainer: With the callbacks that every run has.
        model: The strategy, with sizes from the data.
        datamodule: The data.
        config: The whole configuration, as config.yaml holds it.
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
    """Make what `fusionlit fit` would train, from files or dicts; `sys.argv` is not looked at.

    Each part may be a YAML file, a dict as the file would hold, or the name of a class. The global seed is set, as on
    the command line.

    Args:
        data: The data module, such as `configs/data/replicator_shape.yaml`.
        model: The strategy, such as `configs/model/centralnet.yaml` or `{"class_path": "EarlyFusion"}`.
        trainer: The trainer's arguments; default: Lightning's, but for the length (`TrainingLength`).
        seed: Of everything random.
        overrides: Any options of `fusionlit fit` by name, `{"trainer.max_epochs": 3, "data.root": "frames"}`; they take
            precedence over the parts, the last over those before it.

    Raises:
        ConfigError: If a file is missing, an option is unknown (with the name that was probably meant), or a value
            does not fit.
        DataError: If the data is not as expected.
    """
    return _build(run_options(data, model, trainer, seed, overrides))


def rebuild_run(config: Config) -> Run:
    """The run of a whole configuration, as config.yaml holds it.

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
    """The arguments of `build_run` as options of the command line.

    Raises:
        ConfigError: If a file is missing.
    """
    parts: dict[str, Source] = {"data": data, "model": model} | ({} if trainer is None else {"trainer": trainer})
    for name, part in parts.items():
        if isinstance(part, Path) and not part.is_file():
            raise ConfigError(f"Expected `{name}` to be a configuration file, but there is none at {part}.")
    options = {**parts, "seed_everything": seed, **(overrides or {})}
    return [f"--{name}={_written(value)}" for name, value in options.items()]


def whole_config(cli: FusionCLI) -> Config:
    """What config.yaml would hold of the run that a command line has made, or is to make."""
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


def _written(value: Any) -> str:  # noqa: ANN401 (whatever an option takes)
    return str(value) if isinstance(value, str | Path) else json.dumps(value, default=str)
