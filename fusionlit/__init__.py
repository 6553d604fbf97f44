"""fusionlit: train, compare and explain multimodal fusion with PyTorch Lightning."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fusionlit.cli.run import Run, build_run

__all__ = ["Run", "__version__", "build_run"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:  # noqa: ANN401 (a class or a function)
    """Import the exported names on first use: importing them takes seconds, and `fusionlit --help` does not need it."""
    if name in ("Run", "build_run"):
        from fusionlit.cli import run

        return getattr(run, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
