"""`fusionlit fit`, with an optional refit on training and validation data, or one training per fold."""

from fusionlit.fit.command import FitCLI

__all__ = ["FitCLI"]
