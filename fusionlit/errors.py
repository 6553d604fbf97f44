"""The errors that fusionlit raises: what was expected, what came, and what to do about it."""


class FusionlitError(ValueError):
    """Base of every error that fusionlit raises on bad input; the command line prints it without a traceback."""


class DataError(FusionlitError):
    """A file or a folder is not what the data module can use. The message names the file."""


class ConfigError(FusionlitError):
    """Arguments do not fit each other, the data, or the checkpoint. The message names the argument."""
