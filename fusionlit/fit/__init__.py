"""`fusionlit fit` and what follows a training: a refit on training and validation, or one training per fold."""

from fusionlit.fit.command import FitCLI

__all__ = ["FitCLI"]
