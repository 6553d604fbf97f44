"""`fusionlit fit`, with its options `--refit` and `--folds`."""

from argparse import SUPPRESS
from typing import Any

from lightning.pytorch.cli import LightningArgumentParser

from fusionlit.cli.fusion_cli import FusionCLI
from fusionlit.errors import ConfigError
from fusionlit.fit.folds import check_folds, fit_folds
from fusionlit.fit.refit import check_refit, refit
from fusionlit.fit.rerun import sum_up

REFIT = "Then train from scratch on training and validation data, for as many epochs as the best checkpoint has."
FOLDS = (
    "Number of folds of the training and validation groups: train once per fold, and write the ensemble as one model."
)


class FitCLI(FusionCLI):
    """The commands, with `fit --refit true` and `fit --folds K`."""

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:  # noqa: ANN401 (Lightning's own arguments)
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        # The other commands also read the configuration of a `fit`, and ignore these options.
        shown = subcommand == "fit"
        parser.add_argument("--refit", type=bool, default=False, help=REFIT if shown else SUPPRESS)
        parser.add_argument("--folds", type=int | None, default=None, help=FOLDS if shown else SUPPRESS)
        return parser

    def fit(self, **arguments: Any) -> None:  # noqa: ANN401 (those of `Trainer.fit`)
        """Train once, with a refit, or once per fold.

        Raises:
            ConfigError: If both `refit` and `folds` are given, or the run does not support the option.
        """
        asked = self.config["fit"]
        if asked.refit and asked.folds is not None:
            raise ConfigError(
                "Expected --refit or --folds, but got both: the ensemble of the folds is already trained on all"
                " training and validation data. Leave one out."
            )
        if asked.folds is not None:
            check_folds(self, asked.folds)
            fit_folds(self, asked.folds)
            return
        if asked.refit:
            check_refit(self)
        self.trainer.fit(**arguments)
        sum_up(self)
        if asked.refit:
            refit(self)
