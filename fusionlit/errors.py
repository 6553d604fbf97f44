"""Errors of fusionlit. A message says what was expected, what was found, and how to fix it."""


class FusionlitError(ValueError):
    """Base class of errors about bad input; the command line prints them without a traceback."""


class DataError(FusionlitError):
    """A file, folder or batch cannot be used. The message names it."""


class ConfigError(FusionlitError):
    """Arguments are invalid, or do not fit each other, the data or the checkpoint; the message names the argument."""
