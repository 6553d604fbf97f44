"""The ledger of results: one row per finished run, with everything that identifies the run."""

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any

from filelock import FileLock

from fusionlit import __version__
from fusionlit.compare.origin import Origin
from fusionlit.errors import ConfigError, DataError

FORMAT = 1
"""Format of the rows. Rows of format 0 are flat dicts of figures without an origin."""
PACKAGES = ("torch", "lightning", "torchmetrics")
SHOWN = 5
"""Maximum number of differences listed in a message."""


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that affect results."""
    return {"python": python_version(), "fusionlit": __version__, **{name: version(name) for name in PACKAGES}}


def now() -> str:
    """Date and time, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Row:
    """The result of one run.

    Args:
        model: Name of the model.
        seed: Seed of the run.
        metrics: All figures by name.
        seconds: Duration of the run; None if unknown.
        origin: Configuration, data and splits of the run; None if unknown (rows of format 0).
        versions: Versions of Python and of packages.
        date: Date and time of the measurement.
    """

    model: str
    seed: int
    metrics: dict[str, float]
    seconds: float | None = None
    origin: Origin | None = None
    versions: dict[str, str] = field(default_factory=versions)
    date: str | None = field(default_factory=now)

    def line(self) -> str:
        """The row as a line of JSON."""
        return json.dumps({"format": FORMAT, **asdict(self)})

    @classmethod
    def of_line(cls, line: str) -> "Row":
        """Read a row from a line of JSON.

        Raises:
            DataError: If it is not a row, or has a newer format; the message completes "line 3 ...".
        """
        try:
            content: dict[str, Any] = json.loads(line)
            number = content.pop("format", 0)
            if number > FORMAT:
                raise DataError(f"has format {number}, but this fusionlit reads formats up to {FORMAT}: update it")
            if number == 0:
                return _of_flat(content)
            unknown: dict[str, Any] = {"versions": {}, "date": None}  # not those of today
            return cls(**{**unknown, **content, "origin": _origin(content["origin"])})
        except DataError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"is not a row of results ({error!r}): remove it") from error


class Ledger:
    """Rows in a file of JSON lines, appended under a lock; several processes may share it.

    Args:
        path: The file, which need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self) -> list[Row]:
        """All rows, in the order in which they were appended.

        Raises:
            DataError: If a line is not a row, or has a newer format; the message names the line.
        """
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True) if self.path.exists() else []
        rows = []
        for number, line in enumerate(lines, 1):
            try:
                rows.append(Row.of_line(line))
            except DataError as error:
                if not line.endswith("\n"):
                    continue  # another process is writing it, or was killed while it did
                raise DataError(f"{self.path}: line {number} {error}.") from error
        return rows

    def find(self, model: str, seed: int, origin: Origin) -> Row | None:
        """The row of a run, or None if it has not finished.

        A row without an origin (format 0) is accepted as it is.

        Raises:
            ConfigError: If it was measured with another configuration (the message lists the fields), or on other data
                or splits.
        """
        row = next((row for row in self.rows() if (row.model, row.seed) == (model, seed)), None)
        differences = row.origin.differences(origin) if row is not None and row.origin is not None else []
        if differences:
            more = f"; and {len(differences) - SHOWN} more" if len(differences) > SHOWN else ""
            raise ConfigError(
                f"{self.path} has a row of {model}, seed {seed}, that was measured differently:"
                f" {'; '.join(differences[:SHOWN])}{more}. Restore these settings, or choose another `out` or file."
            )
        return row

    def append(self, row: Row) -> None:
        """Add a row.

        Raises:
            ConfigError: If there is already a row of this model and seed.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self.path}.lock"):
            if any((each.model, each.seed) == (row.model, row.seed) for each in self.rows()):
                raise ConfigError(f"{self.path} already has a row of {row.model}, seed {row.seed}: run it only once.")
            self._end_last_line()
            with self.path.open("a", encoding="utf-8") as lines:
                lines.write(row.line() + "\n")

    def _end_last_line(self) -> None:
        """End a line that has no end: some editors write none; of a killed process it is half a row, which goes."""
        text = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        last = text.rpartition("\n")[2]
        if not last:
            return
        try:
            Row.of_line(last)
            self.path.write_text(text + "\n", encoding="utf-8")
        except DataError:
            self.path.write_text(text.removesuffix(last), encoding="utf-8")


def _origin(content: dict[str, Any] | None) -> Origin | None:
    if content is None:
        return None
    held = content.pop("hash")
    origin = Origin(**content)
    if origin.hash != held:
        raise DataError(f"has a configuration that does not match its hash {held}: it was edited; remove it")
    return origin


def _of_flat(content: dict[str, Any]) -> Row:
    """A row of format 0: a name (`model` or `setting`), a number (`seed` or `run`), and figures."""
    model = content.pop("model" if "model" in content else "setting")
    seed = content.pop("seed" if "seed" in content else "run")
    seconds = content.pop("seconds", None)
    metrics = {}
    for name, value in content.items():
        if name != "made_with":
            metrics.update(flat(value, name))
    return Row(model, seed, metrics, seconds, origin=None, versions={}, date=None)


def flat(value: Any, name: str) -> dict[str, float]:  # noqa: ANN401 (figures, nested in dicts)
    """Figures of nested dicts, by flat names such as `layers/stage1/rgb`; other values are left out."""
    if isinstance(value, dict):
        return {key: x for inner, item in value.items() for key, x in flat(item, f"{name}/{inner}").items()}
    return {name: value} if isinstance(value, int | float) and not isinstance(value, bool) else {}
