"""`fusionlit fit`, with what it does beside one training."""

from argparse import SUPPRESS
from typing import Any

from lightning.pytorch.cli import LightningArgumentParser

from fusionlit.cli.fusion_cli import FusionCLI
from fusionlit.errors import ConfigError
from fusionlit.fit.folds import check_folds, fit_folds
from fusionlit.fit.refit import check_refit, refit
from fusionlit.fit.rerun import sum_up

REFIT = "After the training, train anew on training and validation, for as many epochs as the chosen checkpoint has."
FOLDS = "Train once on each of so many folds of the training and validation groups, and write the mean as one model."


class FitCLI(FusionCLI):
    """The commands, with `fit --refit true` and `fit --folds K`."""

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:  # noqa: ANN401 (Lightning's own arguments)
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        # The other commands read the configuration of a `fit`, and pass over them.
        shown = subcommand == "fit"
        parser.add_argument("--refit", type=bool, default=False, help=REFIT if shown else SUPPRESS)
        parser.add_argument("--folds", type=int | None, default=None, help=FOLDS if shown else SUPPRESS)
        return parser

    def fit(self, **arguments: Any) -> None:  # noqa: ANN401 (those of `Trainer.fit`)
        """Train: once, once more, or once per fold.

        Raises:
            ConfigError: If both are asked for, or what is asked for cannot be.
        """
        asked = self.config["fit"]
        if asked.refit and asked.folds is not None:
            raise ConfigError(
                "Expected --refit or --folds, but got both: the folds' ensemble has seen all of training and validation"
                " already."
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
